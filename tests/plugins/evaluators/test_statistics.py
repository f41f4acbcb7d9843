"""evaluator=policy_statistics: literal numbers, and which rewards are asked with what."""

import pytest

from rlhfkit.storage.run_dir import StageRecord
from rlhfkit.testing import tiny
from rlhfkit_plugins.rewards.format import FormatReward
from rlhfkit_plugins.rewards.reward_model import RunReward

from .samples import samples

TEXTS = ["It rains.", "It", "Red"]


@pytest.fixture
def make(make_context, tmp_path):
    """A context on a tiny model."""
    tiny.language_model(tmp_path / "base")

    def made(*overrides):
        return make_context(f"model.path={tmp_path / 'base'}", "loader=full", *overrides)

    return made


def statistics(context, drawn):
    evaluator = context.build_all("evaluator")["policy_statistics"]
    return {
        policy: {name: metric.value for name, metric in found.items()}
        for policy, found in evaluator.evaluate(drawn).metrics.items()
    }


def test_literal_numbers(make):
    context = make("reward=[length,format]", "reward.length.min=2", "reward.length.slope=4")
    drawn = {
        "sft": samples("sft", TEXTS, kl=[0.0, 0.0, 0.0]),
        "rl": samples("rl", ["", *TEXTS], kl=[1.0, 2.0, 3.0, 0.5]),
    }
    assert statistics(context, drawn) == {
        "sft": pytest.approx(
            {
                "kl": 0,
                "length": 2,
                "eos_share": 1 / 3,
                "reward/length": (1 + 0.75 + 0.75) / 3,
                "reward/format": 1 / 3,
            }
        ),
        "rl": pytest.approx(
            {
                "kl": 1.625,
                "length": 2.5,
                "eos_share": 1 / 4,
                "reward/length": (0.5 + 1 + 0.75 + 0.75) / 4,
                "reward/format": 1 / 4,
            }
        ),
    }


def test_intervals_are_over_prompts(make):
    evaluator = make("reward=[format]").build_all("evaluator")["policy_statistics"]
    found = evaluator.evaluate({"sft": samples("sft", TEXTS, kl=[0.0] * 3)}).metrics["sft"]
    assert {metric.count for metric in found.values()} == {3}
    assert found["length"].low < 2 < found["length"].high
    assert found["kl"].low == found["kl"].high == 0


def seen_columns(monkeypatch, context, drawn):
    """The keyword arguments that a reward function is called with."""
    seen = {}

    def reward(self, prompts, completions, **columns):
        seen.update(columns)
        return [0.0] * len(completions)

    monkeypatch.setattr(FormatReward, "__call__", reward)
    statistics(context, {"sft": drawn})
    return seen


def test_rewards_get_the_policys_tokens(make, monkeypatch):
    drawn = samples("sft", TEXTS, kl=[0.0] * 3)
    assert seen_columns(monkeypatch, make("reward=[format]"), drawn) == {
        "prompt_ids": [[5, 6]] * 3,
        "completion_ids": [[3], [3, 4], [3, 4, 5]],
        "finished": [True, False, False],
    }


def test_rewards_get_the_runs_tokens_of_another_tokenizers_policy(make, monkeypatch):
    drawn = samples("gpt", ["red", "the best", ""], prompts=["what is", "colour", "the"])
    assert seen_columns(monkeypatch, make("reward=[format]"), drawn) == {
        "prompt_ids": [[3, 5, 6, 2, 4], [3, 9, 2, 4], [3, 7, 2, 4]],
        "completion_ids": [[10, 2], [7, 8], [2]],
        "finished": [True, False, False],
    }
    assert "kl" not in statistics(make("reward=[format]"), {"sft": drawn})["sft"]


def test_the_runs_reward_model_counts_when_there_is_one(make, monkeypatch, tmp_path):
    monkeypatch.setattr(RunReward, "__call__", lambda self, prompts, texts, **columns: [1.5, 2.5])
    monkeypatch.setattr(
        "rlhfkit_plugins.rewards.reward_model.IdsReward.__init__", lambda self, *_: None
    )
    drawn = {"sft": samples("sft", ["red", "blue"], kl=[0.0, 0.0])}
    context = make("reward=[reward_model,format]")
    assert set(statistics(context, drawn)["sft"]) == {"kl", "length", "eos_share", "reward/format"}
    tiny.language_model(context.run_dir.stage_dir("reward_model") / "model")
    context.run_dir.complete(StageRecord("reward_model", {}, {}))
    assert statistics(context, drawn)["sft"]["reward/reward_model"] == 2


def test_a_reward_model_by_path_always_counts(make, tmp_path):
    tiny.classifier(tmp_path / "gold")
    context = make("reward=[reward_model]", f"reward.reward_model.path={tmp_path / 'gold'}")
    drawn = {"sft": samples("sft", ["red", "blue"], kl=[0.0, 0.0])}
    assert "reward/reward_model" in statistics(context, drawn)["sft"]
