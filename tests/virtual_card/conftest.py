"""A fixture of the virtual card: runs and scripts on it, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.virtual_card.build import library

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def card_process():
    """`card_process("-c", code)`: what Python prints with the card's environment set."""
    made = library()
    if made is None:
        pytest.skip("no C++ compiler: nothing is tried on the virtual card")

    def start(*arguments: str, **env: str) -> str:
        settings = {
            "VIRTUAL_CUDA_LIB": str(made),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TORCHDYNAMO_DISABLE": "1",
            "PYTHONPATH": str(ROOT),
        }
        kept = {key: own for key, own in os.environ.items() if not key.startswith("VIRTUAL_CUDA")}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**kept, **settings, **env},
            capture_output=True,
            text=True,
        )
        print(done.stderr)  # pytest shows it where the test fails
        assert done.returncode == 0, f"status {done.returncode}: {done.stderr[-3000:]}"
        return done.stdout

    return start


@pytest.fixture(scope="session")
def on_card(card_process, tmp_path_factory):
    """`on_card([{"name": "x", "overrides": ["loader=lora"]}], VIRTUAL_CUDA_GIB="12")`.

    The tiny run with every case's overrides, one after the other in one process; gives a
    dictionary per case: name, ok, error, seconds, peak_mib, metrics (see run.py).
    """

    def run(cases, **env: str) -> list[dict]:
        folder = tmp_path_factory.mktemp("card")
        command = ["-m", "tests.virtual_card.run", json.dumps(list(cases)), str(folder)]
        return [json.loads(line) for line in card_process(*command, **env).splitlines()]

    return run
