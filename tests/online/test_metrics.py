"""Numbers of a batch of answers, by literals."""

import pytest
import torch

from rlhfkit.config.online import OnlineConfig
from rlhfkit.online.kl_penalty import KLPenalty
from rlhfkit.online.metrics import distinct_share, reward_metrics, rollout_metrics
from rlhfkit.online.rollout import Rollout
from rlhfkit.types import Response


def test_numbers_of_an_episode_are_sums_over_its_tokens():
    """As TRL and Ziegler et al. have them; what stands behind the end of an answer counts nothing.

    Sums of log-probabilities: -0.8 and -0.3; of the KL: 0.1 and 0.5."""
    rollout = Rollout(
        prompts=[[{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Why"}]],
        prompt_ids=[[5, 6], [7]],
        completions=["Hello", "Because"],
        responses=[Response([8, 2], [-0.1, -0.7], ended=True), Response([9], [-0.3], ended=False)],
        response_mask=torch.tensor([[True, True], [True, False]]),
        logprobs=torch.tensor([[-0.1, -0.7], [-0.3, -9.0]]),
        ref_logprobs=torch.tensor([[-0.2, -0.7], [-0.8, 4.0]]),
        scores=torch.tensor([1.0, -0.5]),
        raw_scores={},
    )
    found = rollout_metrics(rollout, 0.5, KLPenalty(OnlineConfig()))
    assert found == pytest.approx(
        {
            "objective/kl": 0.3,
            "objective/kl_coef": 0.5,
            "objective/entropy": 0.55,
            "objective/scores": 0.25,
            "objective/non_score_reward": -0.15,
            "objective/rlhf_reward": 0.1,
            "response/length": 1.5,
            "response/eos_share": 0.5,
            "response/distinct_share": 1.0,
        }
    )


def test_spread_of_each_reward():
    found = reward_metrics({"x": torch.tensor([1.0, 3.0]), "y": torch.tensor([0.8, 0.8, 0.8])})
    assert found == {
        "reward/x": 2.0,
        "reward/x_std": 1.0,
        "reward/y": pytest.approx(0.8),
        "reward/y_std": pytest.approx(0.0, abs=1e-6),
    }


def test_distinct_share():
    assert distinct_share(["a", "b", "a", "a"]) == 0.5
