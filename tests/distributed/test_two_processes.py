"""The tiny run in two CPU processes under `accelerate launch`, and in one: the same numbers."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.testing.tiny_run import SETTINGS
from tests.distributed.launching import launch

TOLERANCE = 1e-5
"""Sums over two processes add in another order; steps of 1e-3 are a hundred times as large."""

SHARED = (
    *(word for word in SETTINGS if not word.startswith("stage.rl.")),
    "sampler=scripted",
    "loader.lora_last_layers=1",
    "stage.sample.models=[base,sft]",
    "stage.sft.validation_fraction=0.25",
    "stage.sft.learning_rate=1e-3",
    "stage.sft.num_train_epochs=2",
    "stage.sft.gradient_accumulation_steps=2",
    "stage.sft.logging_steps=1",
    "stage.sft.select_by=loss",
    "stage.reward_model.learning_rate=1e-3",
    "stage.reward_model.num_train_epochs=2",
    "stage.reward_model.logging_steps=1",
    "stage.rl.total_episodes=18",
    "stage.rl.batch_size=9",
    "stage.rl.micro_batch_size=2",
    "stage.rl.whiten_rewards=true",
    "stage.rl.use_score_scaling=true",
    "pretraining_eval_fraction=0.25",
    "optimizer.learning_rate=1e-3",
    "optimizer.value_learning_rate=1e-3",
    "optimizer.num_mini_batches=2",
    "optimizer.ptx_coef=1.0",
    "optimizer.ptx_batch_size=3",
    "optimizer.ema_decay=0.5",
    "evaluator=[win_rate,policy_statistics,pretraining_loss]",
)
"""Odd numbers of rows everywhere: shares of different sizes, empty ones among them. KL control and
whitening of advantages are on by default."""


@pytest.fixture(scope="module")
def runs(tiny_files, tmp_path_factory):
    """The directories of the same run in one process and in two, by their number."""
    root = tmp_path_factory.mktemp("processes")
    texts = root / "texts.jsonl"
    texts.write_text("".join(f'{{"text": "red is {" best" * count}"}}\n' for count in range(20)))
    splits = ("demonstrations", "prompts", "eval_prompts")
    data = [f"data.files.{split}={tiny_files[split]}" for split in splits]
    words = [
        *SHARED,
        *data,
        f"data.files.pretraining={texts}",
        f"model.path={tiny_files['model']}",
        "run_name=same",
    ]
    for count in (1, 2):
        batches = [f"stage.sft.per_device_train_batch_size={4 // count}"]
        batches += [f"stage.reward_model.per_device_train_batch_size={2 // count}"]
        done = launch(count, *words, *batches, f"run_dir={root / str(count)}", plugins=root)
        assert done.returncode == 0, done.stdout + done.stderr
        (root / f"{count}.txt").write_text(done.stdout)
    return {count: root / str(count) for count in (1, 2)}


@pytest.mark.parametrize("stage", ["sft", "reward_model", "rl"])
def test_the_same_weights(runs, stage):
    for name in ("adapter_model.safetensors", "head.safetensors"):
        one, two = (runs[count] / stage / "model" / name for count in (1, 2))
        assert one.exists() == two.exists()
        if one.exists():
            same = load_file(two)
            for key, weights in load_file(one).items():
                torch.testing.assert_close(same[key], weights, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("stage", ["sft", "sample", "label", "reward_model", "rl", "evaluate"])
def test_the_same_metrics(runs, stage):
    one, two = (read_jsonl(runs[count] / stage / "metrics.jsonl") for count in (1, 2))
    assert len(one) == len(two) > 0
    for expected, found in zip(one, two, strict=True):
        assert found.keys() == expected.keys()
        for name in expected.keys() - SPEEDS:
            assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=TOLERANCE), name


SPEEDS = {
    "time/rollout", "time/update", "train_runtime", "train_samples_per_second",
    "train_steps_per_second", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second",
}  # fmt: skip


def test_the_controller_moved_and_texts_were_mixed_in(runs):
    rows = read_jsonl(runs[2] / "rl" / "metrics.jsonl")
    assert rows[0]["objective/kl_coef"] != rows[1]["objective/kl_coef"]
    assert all(row["loss/ptx"] > 0 for row in rows)
    assert rows[1]["sampling/logprob_drift_max"] < 1e-4


@pytest.mark.parametrize(
    "file",
    ["label/rankings.jsonl", "label/agreement.json", "sft/epochs.json", "reward_model/result.json"],
)
def test_the_same_results(runs, file):
    one, two = ((runs[count] / file).read_text() for count in (1, 2))
    # a ranking says nothing of the bias, so what AdamW makes of it is rounding alone
    assert [*numbers(two)] == pytest.approx([*numbers(one)], rel=1e-3, abs=TOLERANCE)


def numbers(text):
    """All numbers of JSON or JSON lines, in their order."""
    for line in text.splitlines() if text.startswith('{"') else [text]:
        yield from _flat(json.loads(line))


def _flat(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _flat(item)
    elif isinstance(value, int | float):
        yield value


def test_one_process_writes_and_speaks(runs):
    one, two = ({str(p.relative_to(runs[n])) for p in runs[n].rglob("*")} for n in (1, 2))
    apart = {name for name in one ^ two if not name.startswith("invocations")}
    assert apart == set()
    assert len([*(runs[2] / "invocations").iterdir()]) == 1
    said = (runs[2].parent / "2.txt").read_text()
    assert said.count("rl: done in") == said.count("report: done in") == 1
    assert "| rl |" in (runs[2] / "report" / "report.md").read_text()
