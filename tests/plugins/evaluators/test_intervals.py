"""rlhfkit.intervals against distributions that are known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from rlhfkit.errors import UserError
from rlhfkit.intervals import interval
from rlhfkit.reporting import confidence
from rlhfkit.types import Metric
from rlhfkit_plugins.evaluators import PolicyStatisticsConfig, WinRateConfig


@pytest.mark.parametrize(("wins", "count"), [(60, 100), (5, 40), (250, 300)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_shares_have_the_binomials_quantiles(wins, count, level):
    """Resampled 0s and 1s are exactly binomial."""
    metric = interval([1.0] * wins + [0.0] * (count - wins), level, 10_000, seed=0)
    assert metric.value == pytest.approx(wins / count)
    tail = (1 - level) / 2
    expected = [binom.ppf(share, count, wins / count) / count for share in (tail, 1 - tail)]
    assert [metric.low, metric.high] == pytest.approx(expected, abs=1.01 / count)
    assert (metric.count, metric.level) == (count, level)


def test_means_have_the_normals_quantiles():
    values = norm.ppf([(index + 0.5) / 400 for index in range(400)], loc=3, scale=2).tolist()
    metric = interval(values, 0.95, 10_000, seed=1)
    assert metric.value == pytest.approx(3)
    assert [metric.low, metric.high] == pytest.approx([3 - 0.196, 3 + 0.196], abs=0.01)


@pytest.mark.parametrize("values", [[0.1], [0.1] * 3, [0.5] * 200])
def test_a_constant_has_no_width(values):
    assert interval(values, 0.95, 100, 0) == Metric(values[0], values[0], values[0], len(values))


def test_tables_say_the_level_of_the_intervals():
    usual, wide = (interval([0.0, 1.0], level, 100, 0) for level in (0.95, 0.999))
    assert confidence([usual, usual]) == "95 %"
    assert confidence([wide, usual]) == "95 %, 99.9 %"


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_the_interval_holds_the_mean_and_lies_within_the_sample(values):
    metric = interval(values, 0.95, 200, 0)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= metric.low <= metric.high <= max(values) + slack
    assert min(values) - slack <= metric.value <= max(values) + slack


def test_seeds_reproduce():
    values = [0.1, 0.7, 0.2, 0.9, 0.4, 0.35]
    assert interval(values, 0.9, 50, 1) == interval(values, 0.9, 50, 1)
    assert interval(values, 0.9, 50, 1) != interval(values, 0.9, 50, 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [("confidence_level", 0), ("confidence_level", 1), ("confidence_level", 95), ("resamples", 0)],
)
def test_wrong_options(option, value):
    for config in (WinRateConfig, PolicyStatisticsConfig):
        with pytest.raises(UserError, match=rf"evaluator\.x\.{option}={value}: must be"):
            config(**{option: value}).check("evaluator.x")


def test_no_values():
    with pytest.raises(ValueError, match="no values"):
        interval([], 0.95, 10, 0)
