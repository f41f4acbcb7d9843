"""rlhfkit.rl.whitening: unit variance, with the mean kept or removed; running moments."""

import math

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from rlhfkit.rl.whitening import RunningMoments, whiten

from .padding import batches

X = torch.tensor([[2.0, 4.0, math.nan], [6.0, math.nan, math.inf]])
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()


def test_advantages_lose_their_mean():
    assert_close(whiten(X, MASK), torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))


def test_rewards_keep_their_mean():
    expected = torch.tensor([[3.0, 4.0, 0.0], [5.0, 0.0, 0.0]])
    assert_close(whiten(X, MASK, shift_mean=False), expected)


def test_epsilon_stands_beside_the_variance():
    x = torch.tensor([[-1e-4, 0.0, 1e-4]], dtype=torch.float64)  # variance 1e-8
    expected = torch.tensor([[-(0.5**0.5), 0.0, 0.5**0.5]], dtype=torch.float64)
    assert_close(whiten(x, torch.ones(1, 3).bool()), expected)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.3, 1000.1, 123456.7])
@pytest.mark.parametrize("length", [1, 3, 7, 1000])
def test_a_constant_whitens_to_zero(constant, length):
    x, mask = torch.full((1, length), constant), torch.ones(1, length).bool()
    assert_close(whiten(x, mask), torch.zeros_like(x), rtol=0, atol=1e-5)
    assert_close(whiten(x, mask, shift_mean=False), x)


@given(batches)
@settings(max_examples=30, deadline=None)
def test_mean_and_variance_against_a_loop(batch):
    (x,) = batch.rows(1)
    for shift_mean in (True, False):
        kept = x[batch.mask].tolist()
        mean = sum(kept) / len(kept)
        variance = sum((value - mean) ** 2 for value in kept) / max(len(kept) - 1, 1)
        offset = 0.0 if shift_mean else mean
        expected = [(value - mean) / math.sqrt(variance + 1e-8) + offset for value in kept]
        whitened = whiten(batch.widen(x), batch.wide_mask, shift_mean)
        assert_close(whitened[batch.wide_mask].tolist(), expected, rtol=1e-5, atol=1e-9)
        assert not whitened[~batch.wide_mask].any()


@pytest.mark.parametrize("shift_mean", [True, False])
def test_nan_in_the_padding_has_no_gradient(shift_mean):
    x = X.clone().requires_grad_()
    whiten(x, MASK, shift_mean).square().sum().backward()
    assert x.grad.isfinite().all()
    assert not x.grad[~MASK].any()


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"x_BT: expected shape \[1, 3\], got \[1, 2\]"):
        whiten(torch.ones(1, 2), torch.ones(1, 3).bool())
    with pytest.raises(ValueError, match=r"x_BT: expected torch.float32"):
        whiten(torch.ones(1, 2).half(), torch.ones(1, 2).bool())
    with pytest.raises(ValueError, match=r"mask_BT: expected torch.bool"):
        whiten(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match="mask: no unmasked entry"):
        whiten(torch.ones(1, 2), torch.zeros(1, 2).bool())


def test_running_moments_of_literals():
    moments = RunningMoments()
    assert (moments.mean, moments.std) == (0.0, 1.0)
    moments.update(torch.tensor([2.0, 4.0]))
    assert moments.mean == 3.0
    assert math.isclose(moments.std, math.sqrt(2.0))
    moments.update(torch.tensor([6.0]))
    assert moments.mean == 4.0
    assert math.isclose(moments.std, 2.0)


@pytest.mark.parametrize("numbers", [[5.0], [5.0, 5.0]])
def test_without_spread_the_deviation_is_one(numbers):
    moments = RunningMoments()
    moments.update(torch.tensor(numbers))
    assert (moments.mean, moments.std) == (5.0, 1.0)


@given(batches)
@settings(max_examples=30, deadline=None)
def test_running_moments_are_those_of_all_numbers(batch):
    moments = RunningMoments()
    rows = [row + 100.0 for row in batch.rows(1)[0]]
    for row in rows:
        moments.update(row)
    everything = torch.cat(rows)
    assert math.isclose(moments.mean, everything.mean().item())
    if len(everything) > 1 and everything.std() > 0:
        assert math.isclose(moments.std, everything.std().item(), rel_tol=1e-6)


def test_wrong_arguments_of_running_moments():
    with pytest.raises(ValueError, match="x_B: expected the axes B"):
        RunningMoments().update(torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"x_B: expected torch.float32"):
        RunningMoments().update(torch.ones(2).half())
