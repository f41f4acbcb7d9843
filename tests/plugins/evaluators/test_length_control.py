"""Length-controlled win rates where they can be told by hand."""

import pytest

from rlhfkit_plugins.evaluators.length_control import length_controlled


def controlled(preferences, gaps, prompts=None):
    names = prompts or [str(index) for index in range(len(gaps))]
    return length_controlled(names, preferences, gaps, 0.95, 400, seed=0)


def test_two_lengths_meet_in_the_middle_of_their_log_odds():
    """Longer answers win 0.8 and shorter ones 0.4: sigmoid((logit 0.8 + logit 0.4) / 2)."""
    wins = [1.0] * 80 + [0.0] * 20 + [1.0] * 40 + [0.0] * 60
    found = controlled(wins, [7.0] * 100 + [-7.0] * 100)
    assert found.value == pytest.approx(0.620204, abs=1e-4)
    assert found.low < 0.58
    assert found.high > 0.66
    assert (found.count, found.level) == (200, 0.95)


def test_answers_of_equal_length_keep_their_win_rate():
    assert controlled([1.0] * 6 + [0.0] * 4, [0.0] * 10).value == pytest.approx(0.6, abs=1e-4)


def test_what_is_preferred_for_its_length_alone_wins_half():
    """Every longer answer wins, every shorter one loses: nothing is left at equal length."""
    gaps = [index - 24.5 for index in range(50)]
    found = controlled([float(gap > 0) for gap in gaps], gaps)
    assert found.value == pytest.approx(0.5, abs=1e-6)


def test_swapping_the_sides_mirrors_it():
    wins, gaps = [1.0, 0.5, 1.0, 0.0, 1.0, 0.25], [9.0, -3.0, 4.0, -8.0, -1.0, 2.0]
    there = controlled(wins, gaps)
    back = controlled([1 - win for win in wins], [-gap for gap in gaps])
    assert back.value == pytest.approx(1 - there.value, abs=1e-9)


def test_one_kind_of_answer_that_always_wins_is_finite():
    found = controlled([1.0] * 20, [5.0, -5.0] * 10)
    assert 0.99 < found.low <= found.value <= found.high < 1


def test_a_prompt_counts_once_however_many_answers_it_has():
    few = controlled([1.0, 0.0], [0.0, 0.0], ["a", "b"])
    many = controlled([1.0, 1.0, 1.0, 0.0], [0.0] * 4, ["a", "a", "a", "b"])
    assert many.value == pytest.approx(few.value)
    assert many.count == 2
