"""Reward functions and labelers that return the wrong thing stop the stage with their name."""

import pytest
import torch

from rlhfkit.config.stages import RlConfig
from rlhfkit.online.scoring import Scorer
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.types import Judgement, Response
from rlhfkit_plugins.labelers import RewardModelLabelerConfig
from rlhfkit_plugins.labelers.reward_model import RewardModelLabeler
from tests.fuzz.broken_answers import LABELERS, REWARDS
from tests.fuzz.outcome import refused

PROMPT = [{"role": "user", "content": "what is red"}]


def score(returned):
    """Two completions, scored by a function that returns this."""
    scorer = Scorer({"mine": lambda *_, **__: returned}, {"mine": 1.0}, RlConfig())
    return scorer([PROMPT] * 2, ["a", "b"], [[1]] * 2, [Response([1], [0.0], True)] * 2)[0]


@pytest.mark.parametrize("case", REWARDS)
def test_a_reward_function(case):
    make, says = REWARDS[case]
    line = refused(score, make(), says=says, names="reward mine: returned ")
    assert len(line) < 200


class Labeler:
    def __init__(self, answer):
        self._answer = answer

    def rank(self, prompts, completions):
        return self._answer


@pytest.mark.parametrize("case", LABELERS)
def test_a_labeler(case):
    answer, says = LABELERS[case]
    line = refused(judgements_of, Labeler(answer), [PROMPT], [["a", "b"]], says=says)
    assert line.startswith("labeler Labeler: ")
    assert len(line) < 250


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_gold_reward_model_without_numbers(context, monkeypatch, number):
    """It would be ranked wherever it happens to stand."""
    monkeypatch.setattr(
        "rlhfkit_plugins.labelers.reward_model.load_reward",
        lambda *_: lambda prompts, completions: [number] + [0.0] * (len(completions) - 1),
    )
    labeler = RewardModelLabeler(RewardModelLabelerConfig(path="gold"), context())
    refused(labeler.rank, [PROMPT], [["a", "b"]], says="which is not finite", names="gold")


def test_what_is_broken_was_whole():
    assert score(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert score(iter([1, 2])).tolist() == [1.0, 2.0]
    answer = [[Judgement([1, 2], "x")]]
    assert judgements_of(Labeler(answer), [PROMPT], [["a", "b"]]) == answer
