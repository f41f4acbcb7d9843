"""What the quickstart promises, by real runs of about ten minutes each: `make acceptance`."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

RLHFKIT = Path(sys.executable).with_name("rlhfkit")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("quickstart")


def quickstart(root, seed):
    start = time.perf_counter()
    done = subprocess.run(
        [str(RLHFKIT), "recipe=quickstart", f"seed={seed}", f"run_name=seed-{seed}"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ppo_beats_sft_and_a_second_run_skips(root, seed):
    _, first = quickstart(root, seed)
    metrics = json.loads((root / "runs" / f"seed-{seed}" / "evaluate" / "metrics.json").read_text())
    win_rate = metrics["rl"]["win_rate"]
    print(f"seed {seed}: {win_rate}, {first:.0f} s")
    assert win_rate["count"] >= 100
    assert win_rate["low"] > 0.5
    output, second = quickstart(root, seed)
    assert output.count("complete, skipped") == 7
    assert second < 15 < first < 12 * 60
