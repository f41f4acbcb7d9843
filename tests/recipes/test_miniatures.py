"""The papers' recipes run: the same stages and options on a tiny model, with tiny numbers."""

import json

import pytest
from transformers import BloomConfig

from rlhfkit.context import DryRun
from rlhfkit.planning.meter import Rates
from rlhfkit.planning.plan import plan_run
from rlhfkit.runner.runner import Runner
from rlhfkit.storage.run_dir import read_jsonl

SMALL = (
    "model.chat=true", "model.max_prompt_length=24", "sampler.response_length=6",
    "sampler.batch_size=8", "stage.sft.num_train_epochs=1",
    "stage.sft.gradient_accumulation_steps=2", "stage.reward_model.gradient_accumulation_steps=2",
    "stage.rl_sft.gradient_accumulation_steps=2", "stage.sample.num_completions=3",
    "stage.reward_model.start=null", "stage.rl.total_episodes=16", "stage.rl.batch_size=8",
    "stage.rl.micro_batch_size=4", "evaluator.win_rate.resamples=20",
    "evaluator.policy_statistics.resamples=20",
)  # fmt: skip


def run(plugins, make_raw, tiny_files, recipe, *overrides):
    splits = ("demonstrations", "prompts", "eval_prompts", "pretraining", "rankings")
    data = ["data=[files]", *(f"data.files.{split}={tiny_files[split]}" for split in splits)]
    model = f"model.path={tiny_files['model']}"
    runner = Runner(make_raw(f"recipe={recipe}", *data, model, *SMALL, *overrides), plugins)
    runner.run()
    for stage in runner.chosen:
        assert runner.run_dir.record(stage.name) is not None
    return runner


def rl_metrics(*arguments):
    return read_jsonl(run(*arguments).run_dir.stage_dir("rl") / "metrics.jsonl")


@pytest.mark.parametrize("recipe", ["instructgpt_1p3b", "instructgpt_qlora"])
def test_instructgpt(plugins, make_raw, tiny_files, recipe):
    rows = rl_metrics(
        plugins, make_raw, tiny_files, recipe, "labeler=simulated", "optimizer.ptx_length=8"
    )
    assert all(row["loss/ptx"] > 0 for row in rows)
    peak = 1.18e-5 if recipe == "instructgpt_1p3b" else 1.18e-4
    assert [row["lr"] for row in rows] == pytest.approx([0.1 * peak, 0.19 * peak])


@pytest.mark.parametrize("recipe", ["instructgpt_6b_ppo", "summarize", "tldr_n_plus", "sentiment"])
def test_the_others(plugins, make_raw, tiny_files, recipe):
    judged = ["labeler=simulated"] if recipe.startswith("instructgpt") else []
    rows = rl_metrics(plugins, make_raw, tiny_files, recipe, *judged)
    assert [row["episode"] for row in rows] == [8, 16]
    assert "loss/ptx" not in rows[0] or rows[0]["loss/ptx"] == 0


QUICK = (
    "loader.lora_last_layers=null", "model.chat_template=null", "optimizer.ptx_length=8",
    "optimizer.critic_warmup=0",
)  # fmt: skip


def test_headline(plugins, make_raw, tiny_files, tmp_path, capsys):
    """A PPO run, then PPO-ptx with it as opponent: the paper's five policies, and a larger one."""
    other = run(
        plugins, make_raw, tiny_files, "headline_ppo", *QUICK, f"run_dir={tmp_path / 'ppo'}"
    )
    path = other.run_dir.stage_dir("rl") / "model"
    opponents = [
        f"stage.evaluate.opponents.{name}={model}"
        for name, model in (("PPO", path), ("larger_raw", tiny_files["model"]))
    ]
    reuse = f"reuse={tmp_path / 'ppo'}"
    runner = run(plugins, make_raw, tiny_files, "headline", *QUICK, reuse, *opponents)
    assert read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")[0]["loss/ptx"] > 0
    metrics = json.loads((runner.run_dir.stage_dir("evaluate") / "metrics.json").read_text())
    judged = {name for name, found in metrics.items() if "win_rate" in found}
    assert judged == {"base", "prompted", "rl", "PPO", "larger_raw"}
    said = capsys.readouterr().out
    assert said.count("taken over from") == 4
    assert "no opponent" not in said
    report = runner.run_dir.stage_dir("report")
    assert "![win rates](figure_1.png)" in (report / "report.md").read_text()
    assert (report / "figure_1.png").stat().st_size > 1000


def test_overoptimization(plugins, make_raw, tiny_files, tmp_path):
    """Two proxies in one figure and one table; gold is measured by RL and for the best of n."""
    few = [*QUICK, "stage.evaluate.num_prompts=4", "stage.evaluate.num_completions=8"]
    other = run(
        plugins, make_raw, tiny_files, "overoptimization", *few, f"run_dir={tmp_path / 'a'}"
    )
    beside = f"stage.report.runs=[{other.run_dir.root}]"
    runner = run(plugins, make_raw, tiny_files, "overoptimization", *few, beside)
    rows = read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")
    assert rows[0]["reward/gold"] != 0
    assert rows[0]["objective/scores"] == pytest.approx(rows[0]["reward/reward_model"])
    report = runner.run_dir.stage_dir("report")
    page = (report / "report.md").read_text()
    for name in (runner.run_dir.root.name, "a"):
        assert f"| {name} | RL | 2 | too few points |" in page
        assert f"| {name} | best-of-n | 4 |" in page
    assert "![gold and proxy reward](overoptimization.png)" in page
    assert (report / "overoptimization.png").stat().st_size > 1000


def test_the_largest_is_planned(make_context, tmp_path):
    shape = {"vocab_size": 250880, "hidden_size": 14336, "n_layer": 70, "n_head": 112}
    BloomConfig(**shape).save_pretrained(tmp_path / "bloom")
    context = make_context(
        "recipe=instructgpt_175b", f"model.path={tmp_path / 'bloom'}", stage="plan"
    )
    object.__setattr__(context, "dry_run", DryRun("cuda"))
    plan = plan_run(context, Rates(2e13, 2e11), ["rl_sft"])
    weights = 176e9 * 4
    assert plan["rl_sft"].parts["base"] == pytest.approx(weights, rel=0.01)
    assert plan["rl_sft"].parts["optimizer"] == pytest.approx(2 * weights, rel=0.01)
