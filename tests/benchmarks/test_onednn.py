"""The benchmark of oneDNN's products: both libraries in turns, and the same products."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="NOT TESTED: PyTorch without oneDNN"
)
def test_both_libraries_are_timed(tmp_path):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "onednn.py", "--repetitions", "2", "--out", tmp_path],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "head, 700 rows, backwards" in done.stdout
    times = json.loads((tmp_path / "onednn.json").read_text())["milliseconds"]
    assert len(times) == 18
    for by in times.values():
        assert len(by["torch"]) == len(by["oneDNN"]) == 2
        assert min(by["torch"] + by["oneDNN"]) > 0
