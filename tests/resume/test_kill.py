"""Killed with SIGKILL, the whole pipeline ends with the bytes of one that never was."""

import json
import os
import subprocess
import sys
from pathlib import Path

from rlhfkit.storage.run_dir import read_jsonl
from tests.resume.comparing import contents

ROOT = Path(__file__).parents[2]
STAGES = ("sft", "sample", "label", "reward_model", "rl", "evaluate")
LONGER = (
    f"stages=[{','.join(STAGES)},report]", "checkpoint.save_steps=1",
    "stage.sft.num_train_epochs=2", "stage.sft.per_device_train_batch_size=4",
    "stage.sft.select_by=loss", "stage.sft.validation_fraction=0.3",
    "stage.reward_model.per_device_train_batch_size=2", "stage.sample.num_completions=16",
    "stage.evaluate.num_completions=20", "stage.rl.total_episodes=32",
    "optimizer.ptx_coef=1", "optimizer.ema_decay=0.5", "optimizer.num_ppo_epochs=2",
    "kl.target=0.01", "kl.horizon=100",
)  # fmt: skip


def test_killed_over_and_over_it_ends_as_if_nothing_had_happened(tiny_overrides, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "tests.resume.killing", str(tmp_path),
         "run_name=test", *tiny_overrides, *LONGER],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    kills = json.loads(ended.stdout.splitlines()[-1])
    assert set(STAGES) <= kills["writing"].keys()
    assert sum(kills["writing"].values()) >= 20
    assert sum(kills["anywhere"].values()) >= 1
    wanted = contents(tmp_path / "whole")
    assert len(read_jsonl(tmp_path / "whole" / "rl" / "metrics.jsonl")) == 4
    assert contents(tmp_path / "writing") == wanted
    assert contents(tmp_path / "anywhere") == wanted
