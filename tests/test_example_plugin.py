"""The example distribution: installed for real, listed, run with, uninstalled."""

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path
from statistics import median

import pytest

from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.testing.tiny_run import SETTINGS

EXAMPLE = Path(__file__).parents[1] / "examples" / "rlhfkit-brevity"


@pytest.fixture
def python(tmp_path):
    """An environment that sees all of this one's packages and has the example beside them: other
    tests, which may run at the same time, do not meet it."""
    venv.create(tmp_path / "environment", with_pip=True)
    command = tmp_path / "environment" / "bin" / "python"
    own = subprocess.check_output(
        [command, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    shared = sysconfig.get_path("purelib")
    (Path(own) / "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n", "utf-8")
    source = shutil.copytree(EXAMPLE, tmp_path / "source")
    pip(command, "install", "--quiet", "--no-deps", str(source))
    return command


def pip(python, *arguments):
    done = subprocess.run(
        [python, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_installed_listed_run_and_uninstalled(python, tiny_files, tmp_path):
    def rlhfkit(*arguments, cwd):
        return subprocess.run(
            [python, "-m", "rlhfkit", *arguments],
            cwd=cwd, env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    listed = rlhfkit("plugins", cwd=tmp_path)
    for words in (
        "rlhfkit-brevity",
        "0.1.0",
        "reward=brevity",
        "kl=halving",
        "optimizer=running_baseline",
    ):
        assert words in listed.stdout

    data = [
        f"data.files.{split}={tiny_files[split]}"
        for split in ("demonstrations", "prompts", "eval_prompts")
    ]
    done = rlhfkit(
        "recipe=brevity", *SETTINGS, *data, f"model.path={tiny_files['model']}",
        "model.chat_template=null", "optimizer.num_mini_batches=1", "optimizer.critic_warmup=0",
        "loader.lora_last_layers=null", "kl.episodes=16",
        "stages=[sft,sample,word_counts,rl,evaluate,report]", "stage.word_counts.most=100",
        "evaluator=[win_rate,policy_statistics,words]", "evaluator.words.words=3", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = read_jsonl(tmp_path / "runs" / "brevity" / "rl" / "metrics.jsonl")
    assert [round(row["objective/kl_coef"], 6) for row in rows] == [0.1, 0.070711]
    assert all(0 < row["reward/brevity"] <= 1 for row in rows)

    folder = tmp_path / "runs" / "brevity" / "evaluate"
    answers = read_jsonl(folder / "rows" / "words.jsonl")
    assert all(row["words"] == len(row["completion"].split()) for row in answers)
    assert {row["short"] for row in answers} <= {0.0, 1.0}
    metrics = json.loads((folder / "metrics.json").read_text())
    own = [row["words"] for row in answers if row["policy"] == "rl"]
    assert metrics["rl"]["words"]["value"] == pytest.approx(sum(own) / len(own))

    run = tmp_path / "runs" / "brevity"
    counted = [
        len(text.split())
        for row in read_jsonl(run / "sample" / "completions.jsonl")
        for text in row["completions"]
    ]
    spread = json.loads((run / "word_counts" / "word_counts.json").read_text())
    assert spread == {"sft": [min(counted), median(counted), max(counted)]}
    line = f"sft: {min(counted)} to {max(counted)} words an answer, median {median(counted):g}"
    assert line in (run / "report" / "report.md").read_text()

    (tmp_path / "answers.txt").write_text("short enough\none two three four\n", "utf-8")
    scored = rlhfkit("brevity", "answers.txt", "2", cwd=tmp_path)
    assert scored.stdout.splitlines() == [
        "1.00  short enough", "0.50  one two three four", "0.75  mean of 2",
    ]  # fmt: skip
    assert "  brevity     score a file of answers" in rlhfkit("--help", cwd=tmp_path).stdout
    assert rlhfkit("brevity", cwd=tmp_path).returncode == 2

    listed = rlhfkit("options", "stage.word_counts", cwd=tmp_path)
    assert "stage.word_counts.most=null" in listed.stdout

    pip(python, "uninstall", "--yes", "rlhfkit-brevity")
    gone = rlhfkit("recipe=brevity", cwd=tmp_path)
    assert gone.returncode == 2
    assert "recipe=brevity: no such choice" in gone.stderr
    assert "brevity" not in rlhfkit("plugins", cwd=tmp_path).stdout


def test_contracts_of_the_example(python, tmp_path):
    test = tmp_path / "test_contract.py"
    test.write_text(
        "from rlhfkit.testing import KLControllerContract, RewardFunctionContract\n"
        "from rlhfkit_brevity import BrevityConfig, HalvingConfig\n"
        "from rlhfkit_brevity.kl import HalvingKL\n"
        "from rlhfkit_brevity.reward import BrevityReward\n"
        "class TestKL(KLControllerContract):\n"
        "    def make(self): return HalvingKL(HalvingConfig(), None)\n"
        "class TestReward(RewardFunctionContract):\n"
        "    def make(self): return BrevityReward(BrevityConfig(), None)\n"
    )
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "4 passed" in done.stdout, done.stdout
