"""rlhfkit.rl.losses: values, gradients, micro-batches, padding, ties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rlhfkit.rl.losses import (
    clipped_value_loss,
    kwise_ranking_loss,
    ppo_policy_loss,
    pretraining_loss,
)

from .padding import batches

ONES = torch.ones(1, 1).bool()
# name: (loss of (trained, constant, constant, mask, denominator), as it is called by the tests)
TOKEN_LOSSES = {
    "ppo": lambda x, old, other, mask, n=None: ppo_policy_loss(x, old, other, mask, 0.2, n).loss,
    "value": lambda x, old, other, mask, n=None: (
        clipped_value_loss(x, old, other, mask, 0.2, n).loss
    ),
    "value, unclipped": lambda x, old, other, mask, n=None: (
        clipped_value_loss(x, old, other, mask, None, n).loss
    ),
    "pretraining": lambda x, old, other, mask, n=None: pretraining_loss(x, mask, n),
}
token_losses = pytest.mark.parametrize("loss", TOKEN_LOSSES.values(), ids=TOKEN_LOSSES.keys())


def value_and_gradient(loss, x, *arguments):
    x = x.clone().requires_grad_()
    value = loss(x, *arguments)
    return value.detach(), torch.autograd.grad(value, x)[0]


def test_ppo_of_literals():
    ratios = torch.tensor([[1.5, 0.5, 1.1, 1.5, 0.5, math.nan]])
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0, -2.0, math.nan]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 0]]).bool()
    logprobs = (ratios.log() - 3).requires_grad_()
    result = ppo_policy_loss(logprobs, torch.full((1, 6), -3.0), advantages, mask, 0.2)
    # per token: -1.2 (clipped), -0.5, 1.1, 1.5, 1.6 (clipped)
    assert_close(result.loss, torch.tensor(0.5))
    assert_close(result.clipfrac, torch.tensor(0.4))
    assert_close(result.ratio, torch.tensor(1.02))
    assert_close(result.approxkl, torch.tensor(0.12987939), rtol=1e-5, atol=0)
    result.loss.backward()
    # -A ratio / 5 where it is not clipped
    assert_close(logprobs.grad, torch.tensor([[0.0, -0.1, 0.22, 0.3, 0.0, 0.0]]))


def test_ppo_with_a_higher_bound_above():
    ratios, advantages = torch.tensor([[1.5, 1.25, 0.5]]), torch.tensor([[1.0, 1.0, -1.0]])
    arguments = ratios.log(), torch.zeros(1, 3), advantages, torch.ones(1, 3).bool(), 0.2
    result = ppo_policy_loss(*arguments, denominator=1.0, cliprange_high=0.3)
    # per token: -1.3 (clipped), -1.25, 0.8 (clipped)
    assert_close(result.loss, torch.tensor(-1.75))
    assert_close(result.clipfrac, torch.tensor(2 / 3))


def test_ppo_metrics_are_detached_and_know_nothing_of_the_denominator():
    logprobs = torch.tensor([[0.5, 0.0]], requires_grad=True)
    zeros, ones, mask = torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2).bool()
    result = ppo_policy_loss(logprobs, zeros, ones, mask, 0.2, denominator=10.0)
    assert_close(result.loss, torch.tensor(-(1.2 + 1.0) / 10))
    assert_close(result.clipfrac, torch.tensor(0.5))
    assert_close(result.approxkl, torch.tensor(0.0625))
    assert_close(result.ratio, torch.tensor((math.exp(0.5) + 1) / 2))
    for metric in (result.clipfrac, result.approxkl, result.ratio):
        assert not metric.requires_grad


@given(batches)
@settings(max_examples=30, deadline=None)
def test_ratio_1_gives_the_plain_policy_gradient(batch):
    logprobs, advantages = batch.rows(2)
    arguments = logprobs, advantages, batch.mask
    _, ppo = value_and_gradient(TOKEN_LOSSES["ppo"], logprobs, *arguments)
    assert_close(ppo, -advantages.where(batch.mask, 0) / batch.mask.sum())


@given(batches)
@settings(max_examples=30, deadline=None)
def test_ppo_and_value_against_loops(batch):
    new, old, other = batch.rows(3)
    policy, value = [], []
    for row, length in enumerate(batch.lengths):
        for t in range(length):
            x, x_old, y = new[row, t].item(), old[row, t].item(), other[row, t].item()
            ratio = math.exp(x - x_old)
            policy.append(-min(ratio * y, min(max(ratio, 0.8), 1.2) * y))
            clipped = min(max(x, x_old - 0.2), x_old + 0.2)
            value.append(0.5 * max((x - y) ** 2, (clipped - y) ** 2))
    arguments = new, old, other, batch.mask, 0.2
    assert_close(ppo_policy_loss(*arguments).loss.item(), np.mean(policy).item())
    assert_close(clipped_value_loss(*arguments).loss.item(), np.mean(value).item())


def test_value_loss_of_literals():
    values = torch.tensor([[11.0, 10.1, 9.0, 9.5, math.nan]], requires_grad=True)
    old, returns = torch.full((1, 5), 10.0), torch.tensor([[12.0, 11.0, 11.0, 10.5, math.inf]])
    mask = torch.tensor([[1, 1, 1, 1, 0]]).bool()
    result = clipped_value_loss(values, old, returns, mask, cliprange_value=0.2)
    # squared errors 1, 0.81, 4, 1; of the clipped 10.2, 10.1, 9.8, 9.8: 3.24, 0.81, 1.44, 0.49
    assert_close(result.loss, torch.tensor((3.24 + 0.81 + 4 + 1) / 8))
    assert_close(result.clipfrac, torch.tensor(0.25))
    result.loss.backward()
    assert_close(values.grad, torch.tensor([[0.0, -0.225, -0.5, -0.25, 0.0]]))


def test_unclipped_value_loss_of_literals():
    values = torch.tensor([[11.0, 10.1, 9.0]], requires_grad=True)
    returns, mask = torch.tensor([[12.0, 11.0, 11.0]]), torch.ones(1, 3).bool()
    result = clipped_value_loss(values, torch.full((1, 3), 10.0), returns, mask, None)
    assert_close(result.loss, torch.tensor((1 + 0.81 + 4) / 6))
    assert result.clipfrac == 0
    result.loss.backward()
    assert_close(values.grad, torch.tensor([[-1 / 3, -0.3, -2 / 3]]))


@pytest.mark.parametrize(
    ("clip", "loss", "slopes"),
    [
        # errors -1, -0.5 and 2 against a delta of 0.5: 0.5 (2 - 0.5), 0.25, 0.5 (4 - 0.5)
        (None, (0.75 + 0.25 + 1.75) / 6, [-0.5 / 3, -0.5 / 3, 0.5 / 3]),
        # clipped to 10.2, 10.2 and 9.8: errors -1.8, -0.8 and -0.2; the worse counts
        (0.2, (1.55 + 0.55 + 1.75) / 6, [0.0, 0.0, 0.5 / 3]),
    ],
)
def test_huber_value_loss_of_literals(clip, loss, slopes):
    values = torch.tensor([[11.0, 10.5, 12.0]], requires_grad=True)
    returns, mask = torch.tensor([[12.0, 11.0, 10.0]]), torch.ones(1, 3).bool()
    old = torch.tensor([[10.0, 10.0, 9.6]])
    result = clipped_value_loss(values, old, returns, mask, clip, huber_delta=0.5)
    assert_close(result.loss, torch.tensor(loss))
    result.loss.backward()
    assert_close(values.grad, torch.tensor([slopes]))


@given(batch=batches, delta=st.floats(0.1, 3))
@settings(max_examples=30, deadline=None)
def test_huber_value_loss_is_torchs(batch, delta):
    values, old, returns = batch.rows(3)
    found = clipped_value_loss(values, old, returns, batch.mask, None, huber_delta=delta)
    wanted = torch.nn.functional.huber_loss(values[batch.mask], returns[batch.mask], delta=delta)
    assert_close(found.loss, wanted)


def test_pretraining_loss_of_literals():
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, -math.inf]])
    mask = torch.tensor([[1, 1], [1, 0]]).bool()
    assert_close(pretraining_loss(logprobs, mask), torch.tensor(2.0))
    assert_close(pretraining_loss(logprobs, mask, denominator=4.0), torch.tensor(1.5))


@token_losses
@given(batch=batches, as_tensor=st.booleans())
@settings(max_examples=30, deadline=None)
def test_micro_batches_add_up(loss, batch, as_tensor):
    x, old, other = batch.rows(3)
    count = batch.mask.sum() if as_tensor else float(batch.mask.sum())
    whole, gradient = value_and_gradient(loss, x, old, other, batch.mask)
    parts = [
        value_and_gradient(loss, *(y[i : i + 1] for y in (x, old, other, batch.mask)), count)
        for i in range(len(x))
    ]
    assert_close(sum(value for value, _ in parts), whole)
    assert_close(torch.cat([part for _, part in parts]), gradient)


@token_losses
@given(batch=batches)
@settings(max_examples=30, deadline=None)
def test_padding_changes_nothing(loss, batch):
    x, old, other = batch.rows(3)
    value, gradient = value_and_gradient(loss, x, old, other, batch.mask)
    padded = (batch.widen(y) for y in (x, old, other))
    wide_value, wide_gradient = value_and_gradient(loss, *padded, batch.wide_mask)
    assert_close(wide_value, value)
    assert_close(batch.narrow(wide_gradient), gradient)
    assert not wide_gradient[~batch.wide_mask].any()


@given(batch=batches)
@settings(max_examples=30, deadline=None)
def test_padding_changes_no_metric(batch):
    x, old, other = batch.rows(3)
    wide = [batch.widen(y) for y in (x, old, other)]
    for function in (ppo_policy_loss, clipped_value_loss):
        plain = function(x, old, other, batch.mask, 0.2)
        padded = function(*wide, batch.wide_mask, 0.2)
        assert_close(vars(padded), vars(plain))


@pytest.mark.parametrize("name", ["ppo", "value"])
def test_constants_get_no_gradient(name):
    x, old, other = (torch.full((1, 2), y, requires_grad=True) for y in (0.1, 0.2, 0.3))
    TOKEN_LOSSES[name](x, old, other, torch.ones(1, 2).bool()).backward()
    assert x.grad.all()
    assert old.grad is None
    assert other.grad is None


@pytest.mark.parametrize(
    ("rewards", "ranks", "loss", "correct", "pairs"),
    [
        ([2.0, 1.0, 0.0], [1, 2, 3], 0.25115041, 3, 3),  # margins 1, 2, 1
        ([0.0, 2.0, 1.0], [3, 1, 2], 0.25115041, 3, 3),
        ([2.0, 1.0, 0.0], [3, 2, 1], 1.58448374, 0, 3),  # margins -1, -2, -1
        ([2.0, 1.0, 0.0], [1, 1, 2], 0.22009485, 2, 2),  # margins 2, 1
        ([2.0, 1.0, 0.0], [1, 3, 2], 0.58448374, 2, 3),  # margins 1, 2, -1
        ([1.0, 1.0], [1, 2], 0.69314718, 0, 1),  # equal rewards are not correct
        ([2.0, 1.0, 0.0], [4, 4, 4], 0.0, 0, 0),
        ([2.0], [1], 0.0, 0, 0),
    ],
)
def test_ranking_loss_of_literals(rewards, ranks, loss, correct, pairs):
    result = kwise_ranking_loss(torch.tensor(rewards), torch.tensor(ranks))
    assert_close(result.loss, torch.tensor(loss), rtol=1e-5, atol=1e-7)
    assert (result.correct.item(), result.pairs.item()) == (correct, pairs)


def test_all_tied_still_has_a_gradient_path():
    rewards = torch.tensor([1.0, 2.0], requires_grad=True)
    kwise_ranking_loss(rewards, torch.tensor([1, 1])).loss.backward()
    assert torch.equal(rewards.grad, torch.zeros(2))


def test_ranking_gradient_raises_the_better():
    rewards = torch.zeros(2, requires_grad=True)
    kwise_ranking_loss(rewards, torch.tensor([2, 1])).loss.backward()
    assert_close(rewards.grad, torch.tensor([0.5, -0.5]))


@given(st.lists(st.tuples(st.floats(-4, 4), st.integers(1, 5)), min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_ranking_loss_against_loops(completions):
    terms, correct = [], 0
    for i, (reward_i, rank_i) in enumerate(completions):
        for reward_j, rank_j in completions[:i]:
            if rank_i != rank_j:
                margin = (reward_i - reward_j) * (1 if rank_i < rank_j else -1)
                terms.append(math.log1p(math.exp(-margin)))
                correct += margin > 0
    rewards = torch.tensor([reward for reward, _ in completions], dtype=torch.float64)
    result = kwise_ranking_loss(rewards, torch.tensor([rank for _, rank in completions]))
    assert math.isclose(result.loss, sum(terms) / max(len(terms), 1), rel_tol=1e-9)
    assert (result.correct.item(), result.pairs.item()) == (correct, len(terms))


def test_wrong_arguments_of_ranking():
    with pytest.raises(ValueError, match=r"ranks_K: expected shape \[3\], got \[2\]"):
        kwise_ranking_loss(torch.ones(3), torch.ones(2).long())
    with pytest.raises(ValueError, match=r"ranks_K: expected torch.int64"):
        kwise_ranking_loss(torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match=r"rewards_K: expected torch.float32"):
        kwise_ranking_loss(torch.ones(3).bfloat16(), torch.ones(3).long())


@token_losses
def test_wrong_arguments(loss):
    x, mask = torch.ones(2, 3), torch.ones(2, 3).bool()
    with pytest.raises(ValueError, match="_BT: expected shape"):
        loss(x, x, x, mask[:, :2])
    with pytest.raises(ValueError, match=r"(logprobs|values)_BT: expected torch.float32"):
        loss(x.bfloat16(), x, x, mask)
    with pytest.raises(ValueError, match=r"mask_BT: expected torch.bool"):
        loss(x, x, x, mask.long())
    with pytest.raises(ValueError, match="mask: no unmasked entry"):
        loss(x, x, x, ~mask)
    with pytest.raises(ValueError, match="denominator: expected a finite number above 0"):
        loss(x, x, x, mask, 0)


def test_wrong_advantages_and_clip_ranges():
    x, mask = torch.ones(2, 3), torch.ones(2, 3).bool()
    with pytest.raises(ValueError, match="advantages_BT: expected shape"):
        ppo_policy_loss(x, x, torch.ones(1, 3), mask, 0.2)
    with pytest.raises(ValueError, match="cliprange: expected a finite number above 0"):
        ppo_policy_loss(x, x, x, mask, 0.0)
    with pytest.raises(ValueError, match="cliprange_value: expected a finite number above 0"):
        clipped_value_loss(x, x, x, mask, -0.2)
    with pytest.raises(ValueError, match="huber_delta: expected a finite number above 0"):
        clipped_value_loss(x, x, x, mask, None, huber_delta=0.0)
