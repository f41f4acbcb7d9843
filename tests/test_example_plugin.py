"""The example distribution: installed for real, listed, run with, uninstalled."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlhfkit.run_dir import read_jsonl
from tests.stages.conftest import SETTINGS

EXAMPLE = Path(__file__).parents[1] / "examples" / "rlhfkit-brevity"


@pytest.fixture
def installed(tmp_path):
    """pip-install the example beside this environment's packages; yields a command runner."""
    source = shutil.copytree(EXAMPLE, tmp_path / "source")
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1"}

    def run(*arguments, present=True):
        return subprocess.run(
            [sys.executable, "-m", "rlhfkit", *arguments],
            cwd=tmp_path,
            env=environment if present else {**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    yield run
    shutil.rmtree(target)


def test_listed_run_and_gone(installed, tiny_files, tmp_path):
    listed = installed("plugins")
    assert "rlhfkit-brevity" in listed.stdout
    assert "reward=brevity" in listed.stdout
    assert "kl=linear" in listed.stdout

    data = [
        f"data.files.{split}={tiny_files[split]}"
        for split in ("demonstrations", "prompts", "eval_prompts")
    ]
    settings = [item for item in SETTINGS if "lora_r" not in item]
    done = installed(
        "recipe=brevity", *settings, *data, f"model.path={tiny_files['model']}",
        "model.chat_template=null", "optimizer.num_mini_batches=1", "kl.episodes=16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = read_jsonl(tmp_path / "runs" / "brevity" / "rl" / "metrics.jsonl")
    assert [round(row["objective/kl_coef"], 6) for row in rows] == [0.1, 0.06]
    assert all(0 < row["reward/brevity"] <= 1 for row in rows)

    gone = installed("recipe=brevity", present=False)
    assert gone.returncode == 2
    assert "recipe=brevity: no such choice" in gone.stderr
    assert "brevity" not in installed("plugins", present=False).stdout


def test_contracts_of_the_example(installed, tmp_path):
    test = tmp_path / "test_contract.py"
    test.write_text(
        "from rlhfkit.testing import KLControllerContract, RewardFunctionContract\n"
        "from rlhfkit_brevity import BrevityConfig, LinearConfig\n"
        "from rlhfkit_brevity.kl import LinearKL\n"
        "from rlhfkit_brevity.reward import BrevityReward\n"
        "class TestKL(KLControllerContract):\n"
        "    def make(self): return LinearKL(LinearConfig(), None)\n"
        "class TestReward(RewardFunctionContract):\n"
        "    def make(self): return BrevityReward(BrevityConfig(), None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert "4 passed" in done.stdout, done.stdout
