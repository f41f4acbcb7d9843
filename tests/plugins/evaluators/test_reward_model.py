"""evaluator=reward_model: accuracy, calibration, agreement, RewardBench 2 and attacks by hand."""

import math

import pyarrow
import pytest
from pyarrow.parquet import write_table

from rlhfkit.errors import NotRun, UserError
from rlhfkit.storage.run_dir import write_jsonl
from rlhfkit.testing import tiny
from rlhfkit.types import Judgement, Ranking
from rlhfkit_plugins.evaluators.reward_attacks import ATTACKS
from rlhfkit_plugins.evaluators.reward_model import RewardModelEvaluator
from rlhfkit_plugins.evaluators.reward_pairs import (
    Pair,
    agreement,
    calibration_error,
    reliability,
    scored_pairs,
)
from rlhfkit_plugins.evaluators.rewardbench import rewardbench_rows

from .samples import samples

ASK = [{"role": "user", "content": "Name a fruit."}]


def by_length(prompts, completions, ended):
    return [float(len(text)) for text in completions]


def pair(gap, item="a", labeler="x"):
    return Pair(item, labeler, None, gap)


def test_pairs_of_a_ranking():
    ranking = Ranking(ASK, ["bbb", "cc", "dd", "a"], [1, 2, 2, 3], [True] * 4, "ann")
    found = scored_pairs([ranking], ["food"], by_length)
    assert [(item.gap, item.right, item.preferred_is_longer) for item in found] == [
        (1, 1, True), (1, 1, True), (2, 1, True), (1, 1, True), (1, 1, True),
    ]  # fmt: skip
    upside_down = Ranking(ASK, ["a", "bbb"], [1, 2], [True, True])
    (lost,) = scored_pairs([upside_down], [""], by_length)
    assert (lost.gap, lost.right, lost.preferred_is_longer) == (-2, 0, False)
    assert pair(0.0).right == 0.5


def test_reliability_and_its_error():
    """Confident at 0.7 and right half of the time; sure and always right."""
    gap = math.log(7 / 3)
    pairs = [pair(gap), pair(-gap), pair(50.0, "b"), pair(60.0, "b")]
    first, last = reliability(pairs, 4)
    assert first == {
        "from": 0.625,
        "to": 0.75,
        "confidence": pytest.approx(0.7),
        "right": 0.5,
        "pairs": 2,
    }
    assert last == {
        "from": 0.875,
        "to": 1.0,
        "confidence": pytest.approx(1),
        "right": 1,
        "pairs": 2,
    }
    found = calibration_error(pairs, 4, 0.95, 200, seed=0)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high, found.count) == (pytest.approx(0), pytest.approx(0.2), 2)


def test_the_labelers_own_ceiling():
    one, two = Judgement([1, 2, 3], "x"), Judgement([1, 3, 2], "y")
    tied = Judgement([1, 1, 1], "z")
    assert agreement([[one, two, tied], [one], [one, one]]) == [pytest.approx(2 / 3), 1]


def test_best_of_four_and_ties():
    rows = [
        {"prompt": "q", "chosen": ["aaaa"], "rejected": ["a", "aa", "aaa"], "subset": "Math"},
        {"prompt": "q", "chosen": ["aaa"], "rejected": ["a", "aaa", "aaa"], "subset": "Math"},
        {"prompt": "q", "chosen": ["aaa"], "rejected": ["aaaa", "a", "a"], "subset": "Math"},
        {"prompt": "q", "chosen": ["aaa", "aa"], "rejected": ["a", ""], "subset": "Ties"},
        {"prompt": "q", "chosen": ["aaa", "a"], "rejected": ["aa", ""], "subset": "Ties"},
    ]
    found = [row["rewardbench2"] for row in rewardbench_rows(rows, by_length)]
    assert found == [1, pytest.approx(1 / 3), 0, 1, 0]


def test_attacks():
    prompts = [ASK, ASK, [{"role": "user", "content": "Was ist das?"}]]
    answers = ["A ripe apple.", "A pear", "Nothing"]
    made = {name: attack(prompts, answers) for name, attack in ATTACKS.items()}
    assert made["empty"] == ["", "", ""]
    assert made["repeated"][0] == " ".join(["apple"] * 20)
    assert made["copied_prompt"][2] == "Was ist das?"
    assert made["other_answer"] == ["Nothing", "Nothing", "A ripe apple."]
    assert made["template"][0].startswith("Thank you! The fruit is")
    assert made["truncated"] == ["A", "A", ""]
    assert made["wrong_language"][0].startswith("Das ist eine")
    assert made["wrong_language"][2].startswith("C'est une")


@pytest.fixture
def make(make_context, tmp_path):
    """A context of a run that has rankings, and a reward that counts words up to one."""
    tiny.language_model(tmp_path / "base")

    def made(*overrides):
        context = make_context(
            f"model.path={tmp_path / 'base'}", "loader=full", "evaluator=[reward_model]",
            "reward=[length]", "reward.length.max=0", "reward.length.slope=8",
            "evaluator.reward_model.reward=length", "evaluator.reward_model.resamples=50",
            "stage.reward_model.validation_fraction=0.5", *overrides,
        )  # fmt: skip
        folder = context.run_dir.stage_dir("label")
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "prompt": [{"role": "user", "content": f"what is {word}"}],
                "completions": ["red", "red and blue"], "ranks": [1, 2],
                "finished": [True, True], "labeler": f"labeler {place % 2}",
            }
            for place, word in enumerate(tiny.WORDS[:8])
        ]  # fmt: skip
        write_jsonl(folder / "rankings.jsonl", rows)
        return context

    return made


def test_the_whole_evaluator(make, tmp_path):
    file = tmp_path / "bench.parquet"
    bench = {
        "prompt": ["q", "q"],
        "chosen": [["a"], ["a b c"]],
        "rejected": [["a b", "a b c"]] * 2,
        "subset": ["Math", "Focus"],
    }
    write_table(pyarrow.table(bench), file)
    context = make(f"evaluator.reward_model.rewardbench={file}")
    drawn = {"sft": samples("sft", ["red and blue", "red"]), "rl": samples("rl", ["red", "red"])}
    found = context.build_all("evaluator")["reward_model"].evaluate(drawn)
    metrics = found.metrics["length"]
    assert (metrics["accuracy"].value, metrics["accuracy"].count) == (1, 4)
    assert metrics["accuracy/shorter"].value == 1
    assert "accuracy/longer" not in metrics
    assert metrics["rewardbench2/Math"].value == 1
    assert metrics["rewardbench2/Focus"].value == 0
    assert 0 < metrics["labeler_agreement"].value <= 1
    assert metrics["attack/copied_prompt_over_rl"].value == 0
    names = {f"attack/{name}_over_{policy}" for name in ATTACKS for policy in drawn}
    assert names <= metrics.keys()
    assert found.notes == []


def test_what_is_missing_is_told(make, monkeypatch):
    context = make()
    (context.run_dir.stage_dir("label") / "rankings.jsonl").unlink()
    drawn = {"sft": samples("sft", ["red and blue", "red"])}
    found = context.build_all("evaluator")["reward_model"].evaluate(drawn)
    assert found.notes[0].startswith("accuracy not measured: stage evaluate needs ")
    assert "accuracy" not in found.metrics["length"]
    config = make("evaluator.reward_model.reward=lenght").config.evaluator["reward_model"]
    with pytest.raises(UserError, match="no reward 'lenght'; did you mean 'length'"):
        RewardModelEvaluator.check_run(config, context)
    monkeypatch.setattr("rlhfkit_plugins.evaluators.reward_model.chosen_rewards", lambda _: {})
    with pytest.raises(NotRun, match="'length' has no model yet: let the stage reward_model run"):
        context.build_all("evaluator")["reward_model"].evaluate(drawn)
