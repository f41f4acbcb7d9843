"""Numbers of a batch of answers, by literals."""

import pytest
import torch

from rlhfkit.online.metrics import distinct_share, reward_metrics


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
