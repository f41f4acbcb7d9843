"""evaluator=best_of_n: chosen by the weighted rewards, scored by each of them, by prompt."""

import json
import math

import pytest

from rlhfkit.errors import UserError
from rlhfkit.types import Metric

from .samples import samples

FOUR = ["one", "one two", "one two three", "one two three four"]
REWARDS = (
    "reward=[length,format]", "reward.length.max=0", "reward.length.slope=4",
    "reward.length.weight=-1", "reward.format.weight=0", "reward.format.pattern=three$",
)  # fmt: skip


@pytest.fixture
def evaluator(make_context):
    chosen = ["evaluator=[best_of_n]", "stage.evaluate.num_completions=4", *REWARDS]
    return make_context(*chosen).build_all("evaluator")["best_of_n"]


def test_the_longest_is_best_and_the_other_reward_is_only_measured(evaluator):
    """length gives 3/4, 1/2, 1/4, 0 and weighs -1; format likes the third alone."""
    found = evaluator.evaluate({"sft": samples("sft", FOUR, [0.0] * 4, ["a"] * 4)}).metrics
    assert list(found) == ["best-of-2", "best-of-4"]
    assert found["best-of-4"] == {
        "kl": Metric(*[pytest.approx(math.log(4) - 3 / 4)] * 3, 1),
        "reward/length": Metric(0, 0, 0, 1),
        "reward/format": Metric(0, 0, 0, 1),
    }
    # of the 6 pairs the fourth wins 3, the third 2, the second 1
    two = found["best-of-2"]
    assert two["reward/length"].value == pytest.approx((3 * 0 + 2 / 4 + 1 / 2) / 6)
    assert two["reward/format"].value == pytest.approx(2 / 6)
    assert two["kl"].value == pytest.approx(math.log(2) - 1 / 2)


def test_the_best_is_that_of_its_own_prompt(evaluator):
    asked = ["a", "b"] * 4
    texts = [text for pair in zip(FOUR, ["one"] * 4, strict=True) for text in pair]
    found = evaluator.evaluate({"sft": samples("sft", texts, [0.0] * 8, asked)}).metrics[
        "best-of-4"
    ]
    assert found["reward/length"].value == pytest.approx((0 + 3 / 4) / 2)
    assert found["reward/length"].count == 2


def test_one_answer_leaves_no_choice(make_context):
    with pytest.raises(UserError, match=r"num_completions=1 leaves nothing to choose from"):
        make_context("evaluator=[best_of_n]").build_all("evaluator")


def test_in_a_run(run_tiny):
    runner = run_tiny(
        "stages=[sft,evaluate]", "stage.evaluate.num_completions=2", "stage.evaluate.num_prompts=3",
        "reward=[length,gold]", "evaluator=[win_rate,policy_statistics,best_of_n]",
    )  # fmt: skip
    metrics = json.loads((runner.run_dir.stage_dir("evaluate") / "metrics.json").read_text())
    assert set(metrics) == {"sft", "base", "best-of-2"}
    assert set(metrics["best-of-2"]) == {"kl", "reward/length", "reward/gold"}
