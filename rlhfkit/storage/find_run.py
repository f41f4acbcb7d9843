"""A run by the word that a user types for it: a directory, or its name in `runs/` here or above."""

from collections.abc import Iterator
from pathlib import Path

from rlhfkit.errors import UserError, nearest
from rlhfkit.storage.run_dir import RECORD, STARTED, RunDir
from rlhfkit.storage.run_record import RUN_FILE

RUNS = "runs"


def find_run(word: str, command: str) -> RunDir:
    """The run that a word means, however deep below its project the user stands.

    Raises `UserError` that says where was looked, and what is there.
    """
    places = list(_places(word))
    for place in places:
        if is_run(place):
            return RunDir(place)
    folders = dict.fromkeys(place.parent for place in places if place.parent.is_dir())
    names = [item.name for folder in folders for item in folder.iterdir() if is_run(item)]
    looked = word if Path(word).is_absolute() else f"{word}, runs/{word}, and in the folders above"
    known = nearest(Path(word).name, names) if names else "`rlhfkit list DIR` shows runs"
    raise UserError(f"{command} {word}: no run there; looked at {looked}; {known}")


def names_run(word: str) -> bool:
    """Whether there is a run that a word means."""
    return any(map(is_run, _places(word)))


def is_run(place: Path) -> bool:
    """Whether a directory is that of a run, started or finished."""
    if not place.is_dir():
        return False
    known = (place / RUN_FILE, *place.glob(f"*/{RECORD}"), *place.glob(f"*/{STARTED}"))
    return any(file.is_file() for file in known)


def find_runs_folder() -> Path | None:
    """The nearest `runs/`, here or above."""
    return next((folder / RUNS for folder in _above() if (folder / RUNS).is_dir()), None)


def _places(word: str) -> Iterator[Path]:
    typed = Path(word).expanduser()
    yield typed
    if not typed.is_absolute():
        for folder in _above():
            yield folder / RUNS / typed
            yield folder / typed


def _above() -> Iterator[Path]:
    """Here, then every directory above it; short names as long as they can be."""
    yield Path()
    here = Path.cwd()
    yield from here.parents
