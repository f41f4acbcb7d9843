"""What the quickstart promises, by real runs of six minutes or more each: `make acceptance`."""

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


ABOVE_ZERO = [f"rubric{way}_minus_{other}" for way in ("", "_greedy") for other in ("sft", "base")]
"""Rubrics kept, as sampled and greedily, paired by prompt with the SFT and the base model."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ppo_keeps_the_promises_and_a_second_run_skips(root, seed):
    _, first = quickstart(root, seed)
    metrics = json.loads((root / "runs" / f"seed-{seed}" / "evaluate" / "metrics.json").read_text())
    ppo = metrics["rl"]
    print(f"seed {seed}, {first:.0f} s: {ppo}")
    assert ppo["win_rate"]["count"] >= 150
    assert ppo["win_rate_length_controlled"]["low"] > 0.5
    assert ppo["win_rate_both_ended"]["low"] > 0.5
    for name in ABOVE_ZERO:
        assert ppo[name]["low"] > 0, name
    closed = ppo["closed_questions_greedy_minus_base"]
    assert closed["count"] >= 100
    assert closed["value"] >= 0
    assert closed["low"] > -0.10
    output, second = quickstart(root, seed)
    assert output.count("complete, skipped") == 7
    assert second < 15 < first < 10 * 60
