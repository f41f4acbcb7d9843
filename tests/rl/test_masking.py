"""rlhfkit.rl.masking: the end of a response, and statistics that see only unmasked entries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rlhfkit.rl.masking import (
    last_index,
    masked_mean,
    masked_sum,
    masked_variance,
    zero_masked,
)

NAN = math.nan
STATISTICS = [masked_sum, masked_mean, masked_variance]


def test_last_index():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 1, 0]]).bool()
    assert torch.equal(last_index(mask), torch.tensor([1, 3, 0, 2]))


def test_last_index_of_an_empty_row():
    with pytest.raises(ValueError, match="mask_BT: a row has no unmasked entry"):
        last_index(torch.tensor([[True, False], [False, False]]))


def test_statistics_of_literals():
    x = torch.tensor([[1.0, 2.0, NAN], [6.0, NAN, NAN]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()
    assert_close(masked_sum(x, mask), torch.tensor(9.0))
    assert_close(masked_mean(x, mask), torch.tensor(3.0))
    assert_close(masked_variance(x, mask), torch.tensor(7.0))  # (4 + 1 + 9) / (3 - 1)
    assert_close(zero_masked(x, mask), torch.tensor([[1.0, 2.0, 0.0], [6.0, 0.0, 0.0]]))


def test_sum_of_nothing_is_zero():
    assert masked_sum(torch.tensor([NAN]), torch.tensor([False])) == 0


def test_a_single_entry_has_no_variance():
    x, mask = torch.tensor([4.0, NAN]), torch.tensor([True, False])
    assert masked_variance(x, mask) == 0


@pytest.mark.parametrize("statistic", STATISTICS)
def test_nan_in_the_padding_has_no_gradient(statistic):
    x = torch.tensor([1.0, 3.0, NAN], requires_grad=True)
    statistic(x, torch.tensor([True, True, False])).backward()
    expected = {masked_sum: [1, 1, 0], masked_mean: [0.5, 0.5, 0], masked_variance: [-2, 2, 0]}
    assert_close(x.grad, torch.tensor(expected[statistic]).float())


@given(st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_statistics_against_a_loop(entries):
    x = torch.tensor([value for value, _ in entries], dtype=torch.float64)
    mask = torch.tensor([kept for _, kept in entries])
    kept = [value for value, keep in entries if keep] or [0.0]
    mean = sum(kept) / len(kept)
    variance = sum((value - mean) ** 2 for value in kept) / max(len(kept) - 1, 1)
    assert math.isclose(masked_sum(x, mask), sum(kept), abs_tol=1e-9)
    if mask.any():
        assert math.isclose(masked_mean(x, mask), mean, abs_tol=1e-9)
        assert math.isclose(masked_variance(x, mask), variance, abs_tol=1e-9)


@pytest.mark.parametrize("statistic", [masked_mean, masked_variance])
def test_nothing_to_average(statistic):
    with pytest.raises(ValueError, match="mask: no unmasked entry"):
        statistic(torch.ones(2), torch.zeros(2).bool())


@pytest.mark.parametrize("function", [*STATISTICS, zero_masked])
def test_wrong_arguments(function):
    mask = torch.ones(2).bool()
    with pytest.raises(ValueError, match=r"mask: expected shape \[1, 2\], that of x, got \[2\]"):
        function(torch.ones(1, 2), mask)
    with pytest.raises(ValueError, match=r"x: expected torch.float32 .*, got torch.bfloat16"):
        function(torch.ones(2).bfloat16(), mask)
    with pytest.raises(ValueError, match=r"mask: expected torch.bool, got torch.int64"):
        function(torch.ones(2), mask.long())


def test_wrong_masks():
    with pytest.raises(ValueError, match=r"mask_BT: expected the axes BT, got shape \[3\]"):
        last_index(torch.ones(3).bool())
    with pytest.raises(ValueError, match=r"mask_BT: expected torch.bool"):
        last_index(torch.ones(1, 3))
