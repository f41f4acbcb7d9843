"""The startup benchmark: every command in turn, the first repetition apart."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_command_times_every_command(tmp_path):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "startup.py", "--repetitions", "1", "--out", tmp_path],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "startup.json").read_text())
    assert list(result["seconds"]) == ["--help", "plugins", "stages", "plan", "skipped run"]
    for name, seconds in result["seconds"].items():
        assert len(seconds) == 2, "one that warms up, and one"
        assert min(seconds) > 0
        assert f"{seconds[1]:.2f} - {seconds[1]:.2f}" in done.stdout, name
    assert result["hardware"]["python"]
