"""The evaluate stage keeps one model in memory at a time."""

import gc
import json
import weakref
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from rlhfkit.data.text_format import load_text_format
from rlhfkit.errors import NotRun, UserError
from rlhfkit.stages import evaluate
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit_plugins.evaluators.win_rate import WinRate


def test_no_model_is_loaded_before_the_last_one_is_gone(run_tiny, monkeypatch):
    run_tiny("stages=[sft,rl]", "reward=[length]")
    alive, load = [], evaluate.load_policy

    def checked(context, name):
        gc.collect()
        assert not [item for item in alive if item() is not None]
        model = load(context, name)
        alive.append(weakref.ref(model.model))
        return model

    monkeypatch.setattr(evaluate, "load_policy", checked)
    run_tiny("stages=[sft,rl,evaluate]", "reward=[length]")
    assert len(alive) == 3


def test_several_answers_to_each_prompt(run_tiny):
    runner = run_tiny(
        "stages=[sft,evaluate]", "stage.evaluate.num_prompts=3", "stage.evaluate.num_completions=2"
    )
    folder = runner.run_dir.stage_dir("evaluate")
    rows = read_jsonl(folder / "samples.jsonl")
    asked = Counter((row["policy"], row["prompt"][-1]["content"]) for row in rows)
    assert len(asked) == 2 * 3
    assert set(asked.values()) == {2}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {item["count"] for found in metrics.values() for item in found.values()} == {3}


def test_the_rows_behind_the_numbers(run_tiny):
    runner = run_tiny("stages=[sft,rl,evaluate,report]", "reward=[length]")
    folder = runner.run_dir.stage_dir("evaluate")
    metrics = json.loads((folder / "metrics.json").read_text())
    for evaluator, name in (("win_rate", "win_rate"), ("policy_statistics", "length")):
        rows = read_jsonl(folder / f"rows/{evaluator}.jsonl")
        own = [row[name] for row in rows if row["policy"] == "rl" and name in row]
        assert sum(own) / len(own) == pytest.approx(metrics["rl"][name]["value"])
        assert all(row["prompt"][-1]["content"] and row["completion"] for row in rows)
    report = (runner.run_dir.stage_dir("report") / "report.md").read_text("utf-8")
    assert "; answer by answer in evaluate/rows/" in report


def test_an_evaluator_that_gives_something_else_is_one_line(run_tiny, monkeypatch):
    monkeypatch.setattr(WinRate, "evaluate", lambda self, samples: {"rl": {"win_rate": 1.0}})
    with pytest.raises(UserError, match=r"evaluator win_rate: gave {'rl'.*Evaluation is needed"):
        run_tiny("stages=[sft,evaluate]")


def test_policies_answer_at_the_stages_own_temperature(make_context):
    context = make_context("sampler.temperature=0.7", "stage.evaluate.temperature=0.01")
    assert evaluate._at_temperature(context).build("sampler").temperature == 0.01
    assert context.build("sampler").temperature == 0.7
    plain = make_context("sampler.temperature=0.7")
    assert evaluate._at_temperature(plain).build("sampler").temperature == 0.7


def test_a_sampler_without_temperature_is_told_so(make_context):
    config = make_context("stage.evaluate.temperature=0.01").config
    with pytest.raises(UserError, match=r"temperature=0\.01: sampler=mine has no temperature"):
        replace(config, sampler=SimpleNamespace(name="mine")).check("")


def test_no_answer_is_refused(run_tiny):
    with pytest.raises(UserError, match="num_completions=0: must be"):
        run_tiny("stages=[sft,evaluate]", "stage.evaluate.num_completions=0")


SHOTS = [
    {"role": "user", "content": "is blue best"},
    {"role": "assistant", "content": "I like red and it goes on"},
]
FEW_SHOT = "stage.evaluate.few_shot=[" + ",".join(
    f"{{role:{turn['role']},content:'{turn['content']}'}}" for turn in SHOTS
) + "]"  # fmt: skip


def test_the_prompted_base_reads_the_few_shots_and_is_judged_by_the_prompt(run_tiny, monkeypatch):
    """Nobody but the model sees them: evaluators get the prompt without."""
    given, answer = {}, evaluate._answer

    def watched(context, answers, text, name, load, prompts):
        drawn = given[name] = answer(context, answers, text, name, load, prompts)
        return drawn

    monkeypatch.setattr(evaluate, "_answer", watched)
    runner = run_tiny("stages=[sft,evaluate]", FEW_SHOT)
    base, prompted = given["base"], given["prompted"]
    assert prompted.prompts == base.prompts
    text = load_text_format(runner.context("evaluate"))
    assert prompted.prompt_ids == [text.prompt_ids([*SHOTS, *item]) for item in base.prompts]
    assert prompted.completions != base.completions
    metrics = json.loads((runner.run_dir.stage_dir("evaluate") / "metrics.json").read_text())
    assert set(metrics) == {"sft", "base", "prompted"}
    assert "win_rate" in metrics["prompted"]
    assert "kl" not in metrics["prompted"]


def test_another_runs_policy_reads_with_this_runs_tokenizer(run_tiny, tmp_path):
    """It is the same policy: at another place, it wins and loses as often."""
    first = run_tiny("stages=[sft,rl]", "reward=[length]", f"run_dir={tmp_path / 'first'}")
    path = first.run_dir.stage_dir("rl") / "model"
    runner = run_tiny(
        "stages=[sft,rl,evaluate]", "reward=[length]", f"+stage.evaluate.opponents.PPO={path}"
    )
    metrics = json.loads((runner.run_dir.stage_dir("evaluate") / "metrics.json").read_text())
    assert metrics["PPO"]["win_rate"] == metrics["rl"]["win_rate"]


def test_an_opponent_without_a_model_is_left_out_in_a_line(run_tiny, capsys):
    runner = run_tiny("stages=[sft,evaluate]", "+stage.evaluate.opponents.larger=null")
    metrics = json.loads((runner.run_dir.stage_dir("evaluate") / "metrics.json").read_text())
    assert set(metrics) == {"sft", "base"}
    assert "no opponent 'larger': stage.evaluate.opponents.larger names" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("+stage.evaluate.opponents.rl=a/b", "opponents.rl: the run has a policy of that name"),
        ("+stage.evaluate.opponents.PPO=a/b/c", "opponents.PPO=a/b/c: no such directory"),
        ("stage.evaluate.few_shot=[{role:usr,content:a}]", r"few_shot: .* must have a role"),
        ("stage.evaluate.few_shot=[{role:user,content:a}]", "few_shot: the last message is"),
        ("stage.evaluate.few_shot=[{role:user}]", "few_shot: .* must have a role"),
        ("stage.report.runs=[a/b]", r"stage\.report\.runs: a/b: no such directory"),
    ],
)
def test_wrong_options_are_refused_before_training(run_tiny, tmp_path, setting, message):
    with pytest.raises(UserError, match=message):
        run_tiny("stages=[sft,evaluate]", setting)
    assert not (tmp_path / "run" / "sft").exists()


def test_what_cannot_be_measured_is_not_run_and_never_zero(run_tiny, monkeypatch, capsys):
    def refuse(self, samples):
        raise NotRun("the judge is away")

    monkeypatch.setattr(WinRate, "evaluate", refuse)
    runner = run_tiny("stages=[sft,evaluate,report]")
    folder = runner.run_dir.stage_dir("evaluate")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert "length" in metrics["sft"]
    assert not any("win_rate" in name for found in metrics.values() for name in found)
    notes = json.loads((folder / "notes.json").read_text())
    assert notes == {"win_rate": ["not run: the judge is away"]}
    assert "win_rate: not run: the judge is away" in capsys.readouterr().out
    for page in ("report.html", "report/report.md"):
        text = (runner.run_dir.root / page).read_text()
        assert "win_rate: not run: the judge is away." in text
