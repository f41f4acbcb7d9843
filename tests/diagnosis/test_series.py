"""rlhfkit.diagnosis.series: windows of literals."""

import math

import pytest

from rlhfkit.diagnosis.series import Series


def series(values):
    return Series.read(({"step": step, "x": value} for step, value in enumerate(values, 1)), "x")


def test_what_is_no_number_is_left_out():
    rows = [{"step": 1, "x": 2.0}, {"step": 2}, {"step": 3, "x": math.nan}, {"step": 4, "x": "7"}]
    assert Series.read(rows, "x") == Series([1], [2.0])


@pytest.mark.parametrize(("count", "size"), [(3, 3), (15, 3), (20, 4), (1000, 50)])
def test_a_window_is_a_fifth(count, size):
    assert series([1.0] * count).size == size


def test_mean_and_standard_error_of_start_and_end():
    found = series([1.0, 2.0, 3.0, *[9.0] * 14, 4.0, 4.0, 4.0, 8.0])
    assert (found.start.first, found.start.last) == (1, 3)
    assert found.noise == pytest.approx(math.sqrt((1 + 1 + 36 + 25 + 16) / 20 / 2))
    assert (found.start.mean, found.start.error) == pytest.approx((2, 0.8114), abs=1e-4)
    assert (found.end.mean, found.end.error) == pytest.approx((5, 0.7027), abs=1e-4)
    assert str(found.end) == "iterations 18 to 21"


def test_windows_cover_all_and_the_last_is_whole():
    found = [(window.first, window.last) for window in series([0.0] * 11).windows()]
    assert found == [(1, 3), (4, 6), (9, 11)]


def test_a_short_series_is_one_window():
    found = series([1.0, 3.0])
    assert (found.start, found.end) == (found.window(0, 3), found.window(0, 3))
    assert series([1.0]).end.error == math.inf
