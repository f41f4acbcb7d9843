"""rlhfkit.rl.advantages: GAE with its two limits, discounted returns, leave-one-out, GRPO."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rlhfkit.rl.advantages import discounted_returns, gae, group_relative, leave_one_out

from .padding import batches

NAN = math.nan
REWARDS = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, NAN]])
VALUES = torch.tensor([[0.5, 1.0, 1.5], [0.5, 1.0, NAN]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
fractions = st.floats(0, 1)


def gae_by_loops(rewards, values, lengths, gamma, lam):
    """A_t = sum over l of (gamma lam)^l delta_{t+l}, equation 16 as printed."""
    advantages = np.zeros(rewards.shape)
    for row, length in enumerate(lengths):
        for t in range(length):
            for k in range(t, length):
                following = values[row, k + 1] if k + 1 < length else 0.0
                delta = rewards[row, k] + gamma * following - values[row, k]
                advantages[row, t] += (gamma * lam) ** (k - t) * delta
    return advantages


def test_gae_of_literals():
    result = gae(REWARDS, VALUES, MASK, gamma=0.5, lam=0.5)
    # deltas: 1, 1.75, 1.5 and, with nothing past the last token, 1, 1
    assert_close(result.advantages, torch.tensor([[1.53125, 2.125, 1.5], [1.25, 1.0, 0.0]]))
    assert_close(result.returns, torch.tensor([[2.03125, 3.125, 3.0], [1.75, 2.0, 0.0]]))


def test_discounted_returns_of_literals():
    expected = torch.tensor([[2.75, 3.5, 3.0], [2.0, 2.0, 0.0]])
    assert_close(discounted_returns(REWARDS, MASK, gamma=0.5), expected)


@given(batches, fractions)
@settings(max_examples=30, deadline=None)
def test_lambda_1_gives_the_discounted_return_less_the_value(batch, gamma):
    rewards, values = batch.rows(2)
    returns = discounted_returns(rewards, batch.mask, gamma)
    result = gae(rewards, values, batch.mask, gamma, lam=1.0)
    assert_close(result.advantages, returns - values)
    assert_close(result.returns, returns)


@given(batches, fractions)
@settings(max_examples=30, deadline=None)
def test_lambda_0_gives_the_one_step_error(batch, gamma):
    rewards, values = batch.rows(2)
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    result = gae(rewards, values, batch.mask, gamma, lam=0.0)
    assert_close(result.advantages, rewards + gamma * following - values)


@given(batches, fractions, fractions)
@settings(max_examples=30, deadline=None)
def test_gae_against_loops(batch, gamma, lam):
    rewards, values = batch.rows(2)
    expected = gae_by_loops(rewards.numpy(), values.numpy(), batch.lengths, gamma, lam)
    result = gae(rewards, values, batch.mask, gamma, lam).advantages
    assert_close(result, torch.from_numpy(expected))


@given(batches)
@settings(max_examples=30, deadline=None)
def test_padding_changes_nothing(batch):
    rewards, values = batch.rows(2)
    plain = gae(rewards, values, batch.mask, 0.9, 0.8)
    padded = gae(batch.widen(rewards), batch.widen(values), batch.wide_mask, 0.9, 0.8)
    plain_returns = discounted_returns(rewards, batch.mask, 0.9)
    padded_returns = discounted_returns(batch.widen(rewards), batch.wide_mask, 0.9)
    for x, wide in (
        (plain.advantages, padded.advantages),
        (plain.returns, padded.returns),
        (plain_returns, padded_returns),
    ):
        assert torch.equal(batch.narrow(wide), x)
        assert not wide[~batch.wide_mask].any()


def test_leave_one_out_of_literals():
    scores = torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]])
    assert_close(leave_one_out(scores), torch.tensor([[-3.0, -1.5, 4.5], [0.0, 0.0, 0.0]]))


def test_leave_one_out_against_loops():
    scores = np.random.default_rng(0).normal(size=(4, 5))
    expected = np.zeros_like(scores)
    for group, row in enumerate(scores):
        for i, score in enumerate(row):
            expected[group, i] = score - np.mean([s for j, s in enumerate(row) if j != i])
    assert_close(leave_one_out(torch.from_numpy(scores)), torch.from_numpy(expected))


def test_leave_one_out_needs_others():
    with pytest.raises(ValueError, match="scores_GK: expected K of 2 or more, got 1"):
        leave_one_out(torch.ones(3, 1))
    with pytest.raises(ValueError, match="scores_GK: expected the axes GK"):
        leave_one_out(torch.ones(3))
    with pytest.raises(ValueError, match=r"scores_GK: expected torch.float32"):
        leave_one_out(torch.ones(3, 2).long())


def test_group_relative_of_literals():
    scores = torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]])  # means 3 and 5, deviation sqrt(7)
    plain = torch.tensor([[-2.0, -1.0, 3.0], [0.0, 0.0, 0.0]])
    assert_close(group_relative(scores, scale=False), plain)
    assert_close(group_relative(scores, scale=True), plain / (math.sqrt(7) + 1e-4))
    with pytest.raises(ValueError, match="scores_GK: expected K of 2 or more, got 1"):
        group_relative(torch.ones(3, 1), scale=True)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"values_BT: expected shape \[2, 3\], got \[2, 2\]"):
        gae(REWARDS, VALUES[:, :2], MASK, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"values_BT: expected torch.float32"):
        gae(REWARDS, VALUES.bfloat16(), MASK, 1.0, 1.0)
    with pytest.raises(ValueError, match="rewards_BT: expected shape"):
        discounted_returns(REWARDS[:1], MASK, 1.0)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, NAN])
def test_discounts_outside_0_and_1(wrong):
    with pytest.raises(ValueError, match="gamma: expected a number from 0 to 1"):
        gae(REWARDS, VALUES, MASK, wrong, 1.0)
    with pytest.raises(ValueError, match="lam: expected a number from 0 to 1"):
        gae(REWARDS, VALUES, MASK, 1.0, wrong)
    with pytest.raises(ValueError, match="gamma: expected a number from 0 to 1"):
        discounted_returns(REWARDS, MASK, wrong)


@pytest.mark.parametrize("row", [[0, 1, 1], [1, 0, 1]])
def test_masks_that_are_not_right_padded(row):
    mask = torch.tensor([[1, 1, 1], row]).bool()
    with pytest.raises(ValueError, match="mask_BT: expected right padding"):
        gae(REWARDS, VALUES, mask, 1.0, 1.0)
    with pytest.raises(ValueError, match="mask_BT: expected right padding"):
        discounted_returns(REWARDS, mask, 1.0)
