"""The whole loop on a tiny random model, with every loader and optimizer."""

import json

import pytest

from rlhfkit.storage.run_dir import read_jsonl


@pytest.mark.parametrize("loader", ["full", "lora", "qlora"])
def test_every_stage_with_every_loader(run_tiny, loader):
    runner = run_tiny(f"loader={loader}", "optimizer.ptx_coef=1.0", "optimizer.ptx_batch_size=2")
    root = runner.run_dir.root
    for stage in runner.chosen:
        assert runner.run_dir.record(stage.name) is not None, stage.name
    completions = read_jsonl(root / "sample" / "completions.jsonl")
    assert len(completions) == 12
    assert all(len(row["completions"]) == 3 for row in completions)
    for stage in ("sft", "sample", "label", "reward_model", "rl", "evaluate"):
        assert read_jsonl(root / stage / "metrics.jsonl"), stage
    rows = read_jsonl(root / "rl" / "metrics.jsonl")
    assert [row["episode"] for row in rows] == [8, 16]
    assert all(row["loss/ptx"] > 0 for row in rows)
    metrics = json.loads((root / "evaluate" / "metrics.json").read_text())
    assert set(metrics) == {"sft", "base", "rl"}
    assert metrics["sft"]["kl"]["value"] == 0
    assert 0 <= metrics["rl"]["win_rate"]["low"] <= metrics["rl"]["win_rate"]["high"] <= 1
    assert (root / "report" / "reward_vs_kl.png").stat().st_size > 1000
    assert "| rl |" in (root / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    "optimizer", ["rloo", "grpo", "reinforce_pp", "trl_grpo", "trl_rloo", "dpo"]
)
def test_other_optimizers(run_tiny, optimizer):
    runner = run_tiny(f"optimizer={optimizer}", "stages=[sft,sample,label,reward_model,rl]")
    rows = read_jsonl(runner.run_dir.root / "rl" / "metrics.jsonl")
    assert rows
    assert (runner.run_dir.root / "rl" / "model" / "adapter_model.safetensors").exists()


def test_trackers_get_the_numbers(run_tiny):
    """transformers' report_to, by the one tracker that needs no account."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runner = run_tiny("report_to=[tensorboard]", "stages=[sft,rl]", "reward=[length]")
    for stage, tag in (("sft", "train/train_loss"), ("rl", "train/objective/kl")):
        events = list((runner.run_dir.stage_dir(stage) / "trackers").rglob("events.out.*"))
        assert events, stage
        found = EventAccumulator(str(events[0].parent))
        found.Reload()
        assert tag in found.Tags()["scalars"]


def test_imported_rankings_train_and_nobody_judges(run_tiny, tiny_files, capsys):
    runner = run_tiny(
        "labeler=imported",
        f"data.files.rankings={tiny_files['rankings']}",
        "stages=[sft,label,reward_model,rl,evaluate,report]",
    )
    metrics = json.loads((runner.run_dir.root / "evaluate" / "metrics.json").read_text())
    assert "win_rate" not in metrics["rl"]
    assert "length" in metrics["rl"]
    assert "imported rankings cannot judge" in capsys.readouterr().out


def test_the_reward_model_learns_the_rankings(run_tiny, tiny_files):
    """`it is fine` is always ranked first: a reward model that learns must see it."""
    runner = run_tiny(
        "labeler=imported",
        f"data.files.rankings={tiny_files['rankings']}",
        "stages=[label,reward_model]",
        "stage.reward_model.learning_rate=0.01",
        "stage.reward_model.num_train_epochs=8",
    )
    result = json.loads((runner.run_dir.root / "reward_model" / "result.json").read_text())
    assert result["validation_prompts"] == 1
    assert result["validation_pairs"] == 2
    assert result["validation_accuracy"] == 1.0


def test_demonstrations_average_zero_after_normalising(run_tiny, make_context, tiny_overrides):
    from rlhfkit.data import sources
    from rlhfkit.data.text_format import load_text_format
    from rlhfkit.models.batch import make_batch

    runner = run_tiny("stages=[sft,sample,label,reward_model]")
    context = make_context(*tiny_overrides)
    path = runner.run_dir.root / "reward_model" / "model"
    model = context.build("loader").scalar_model(str(path))
    text = load_text_format(context)
    rows = sources.demonstrations(context)
    batch = make_batch(
        [text.prompt_ids(row.prompt) for row in rows],
        [text.completion_ids(row.completion) for row in rows],
    )
    assert abs(float(model.scores(batch).mean())) < 1e-4


def test_a_policy_can_be_an_opponent(run_tiny, tiny_files):
    opponent = f"+stage.evaluate.opponents.other={tiny_files['model']}"
    runner = run_tiny("stages=[sft,evaluate]", opponent)
    metrics = json.loads((runner.run_dir.root / "evaluate" / "metrics.json").read_text())
    assert "win_rate" in metrics["other"]
    assert "kl" not in metrics["other"]


def test_the_same_seed_gives_the_same_run(run_tiny, tmp_path):
    def numbers(name):
        runner = run_tiny(f"run_dir={tmp_path / name}", "stages=[sft,rl]", "reward=[length]")
        rows = read_jsonl(runner.run_dir.root / "rl" / "metrics.jsonl")
        return [{key: row[key] for key in row if not key.startswith("time/")} for row in rows]

    assert numbers("one") == numbers("two")


def test_several_models_take_turns(run_tiny):
    runner = run_tiny("stages=[sft,sample]", "stage.sample.models=[base,sft]")
    for row in read_jsonl(runner.run_dir.root / "sample" / "completions.jsonl"):
        assert row["sources"] == ["base", "base", "sft"]
        assert all(
            len(ids) == len(logprobs)
            for ids, logprobs in zip(row["ids"], row["logprobs"], strict=True)
        )
