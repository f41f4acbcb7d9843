"""Scores of a batch: weights, running scaling, clip and missing-EOS penalty, in this order."""

import pytest
import torch

from rlhfkit.config.stages import RlConfig
from rlhfkit.online.scoring import Scorer
from rlhfkit.types import Response

PROMPTS = [[{"role": "user", "content": "red"}]] * 3


def score(scorer, finished=(True, True, True)):
    responses = [Response([1], [0.0], flag) for flag in finished]
    return scorer(PROMPTS, ["a", "b", "c"], [[1]] * 3, responses)


def make(batches, weights=None, **options):
    """A scorer whose reward functions give the batches in turn."""
    left = iter(batches)
    rewards = {name: lambda *_, **__: next(left) for name in (weights or {"x": 1.0})}
    return Scorer(rewards, weights or {"x": 1.0}, RlConfig(**options))


def test_weighted_clipped_and_less_the_penalty():
    scorer = make([[1.0, 2.0, -4.0], [1.0, 1.0, 1.0]], {"x": 2.0, "y": -1.0}, reward_clip=2.0)
    scores, raw = score(scorer, (True, True, False))
    assert scores.tolist() == [1.0, 2.0, -3.0]  # 1, 3 and -9, clipped, less 1
    assert raw["x"].tolist() == [1.0, 2.0, -4.0]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        # deviations of 1 3 2 and of all six: 1 and sqrt(52 / 5); means 2 and 4
        (False, [[1.0, 3.0, 2.0], [2.0 / 10.4**0.5, 7.0 / 10.4**0.5, 9.0 / 10.4**0.5]]),
        (True, [[-1.0, 1.0, 0.0], [-2.0 / 10.4**0.5, 3.0 / 10.4**0.5, 5.0 / 10.4**0.5]]),
    ],
)
def test_scaled_by_all_scores_so_far(norm, expected):
    batches = [[1.0, 3.0, 2.0], [2.0, 7.0, 9.0]]
    scorer = make(batches, use_score_scaling=True, use_score_norm=norm)
    for batch, row in zip(batches, expected, strict=True):
        scores, raw = score(scorer)
        torch.testing.assert_close(scores, torch.tensor(row), rtol=1e-6, atol=1e-6)
        assert raw["x"].tolist() == batch


def test_the_clip_is_of_scaled_scores():
    scorer = make([[100.0, 300.0, 200.0]], use_score_scaling=True, reward_clip=2.5)
    assert score(scorer, (True, False, True))[0].tolist() == pytest.approx([1.0, 1.5, 2.0])
