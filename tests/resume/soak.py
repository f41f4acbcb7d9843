"""`make soak`: `python -m tests.resume.soak MINUTES`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rlhfkit.testing.tiny_run import SETTINGS, write_files
from tests.resume.killing import import_everything, soak
from tests.resume.test_kill import LONGER


def main(minutes: float) -> None:
    """A tiny run's files in a passing directory, and runs that are killed."""
    import_everything()
    with TemporaryDirectory() as place:
        files = write_files(Path(place) / "files")
        data = [f"data.files.{split}={files[split]}" for split in files if split not in OTHER]
        words = ["run_name=soak", *SETTINGS, f"model.path={files['model']}", *data, *LONGER]
        soak(Path(place), minutes, words)


OTHER = ("model", "rankings")
"""What is no split of the run: rankings are made in it."""

if __name__ == "__main__":
    main(float(sys.argv[1]))
