"""Which policy is kept of a frontier that stands here in numbers, and what is said of it."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.storage.frontier import Candidate, Frontier, read_frontier
from rlhfkit.storage.run_dir import RunDir


def candidate(iteration, kl, *scores):
    return Candidate(iteration, [*scores], [kl] * len(scores))


def frontier(*candidates):
    return Frontier("gold", 24, candidates)


START = candidate(0, 0.0, 0.1, 0.2, 0.3, 0.4)
BETTER = candidate(12, 4.2, 1.1, 1.3, 1.2, 1.4)
WORSE = candidate(24, 9.0, 0.9, 0.8, 1.0, 0.9)


def test_overoptimisation_keeps_the_top_of_the_curve():
    found = frontier(START, BETTER, WORSE)
    assert found.kept is BETTER
    assert found.sentence() == (
        "Iteration 12 of 24 is kept: gold 1.25 at 4.2 nats on 4 prompts; later ones score no "
        "higher at more KL"
    )


def test_the_last_policy_where_the_score_only_rises():
    found = frontier(START, candidate(12, 4.2, 0.9, 0.8, 1.0, 0.9), candidate(24, 9.0, 2, 2, 3, 3))
    assert found.kept.iteration == 24
    assert found.sentence() == (
        "Iteration 24 of 24 is kept: gold 2.5 at 9.0 nats on 4 prompts; those before it score lower"
    )


def test_a_gain_within_a_standard_error_is_not_worth_its_kl():
    """Gains of 0.4, -0.2, 0.3, -0.1 have a mean of 0.1 and a standard error of 0.147."""
    more = candidate(24, 9.0, 1.5, 1.1, 1.5, 1.3)
    found = frontier(START, BETTER, more)
    assert found.kept is BETTER
    assert found.sentence().endswith(
        "; iteration 24 of 24 scores gold 1.35 at 9.0 nats, more by less than a standard error"
    )


def test_pairs_tell_what_means_apart_would_not():
    """0.05 more on every prompt is no chance, though the prompts differ by 0.3."""
    more = candidate(24, 9.0, 1.15, 1.36, 1.25, 1.46)
    assert frontier(START, BETTER, more).kept is more


def test_equal_scores_keep_less_kl():
    nearer = candidate(24, 3.0, 1.1, 1.3, 1.2, 1.4)
    assert frontier(START, BETTER, nearer).kept is nearer
    assert frontier(START, nearer, candidate(24, 4.2, 1.1, 1.3, 1.2, 1.4)).kept is nearer


def test_slow_gains_add_up():
    """Each step is within a standard error of the one before, not of the one that is kept."""
    gains = (0.3, -0.2, 0.3, -0.2)
    steps = [candidate(turn, turn, *(0.5 + turn * gain for gain in gains)) for turn in range(1, 4)]
    assert frontier(candidate(0, 0, 0.5, 0.5, 0.5, 0.5), *steps).kept.iteration == 0
    steady = [candidate(turn, turn, *(turn * 0.1 + gain for gain in gains)) for turn in range(4)]
    assert frontier(*steady).kept.iteration == 3


def test_the_start_where_rl_made_nothing_better():
    start = candidate(0, -1e-7, 0.1, 0.2, 0.3, 0.4)
    found = frontier(start, candidate(24, 9.0, 0, 0, 0, 0))
    assert found.kept is start
    assert found.sentence().startswith(
        "The policy that RL started from is kept: gold 0.25 at 0.0 nats on 4"
    )


def test_it_is_read_as_it_was_written(tmp_path):
    run = RunDir(tmp_path)
    assert read_frontier(run) is None
    run.stage_dir("rl").mkdir()
    frontier(START, BETTER).write(run.stage_dir("rl"))
    found = read_frontier(run)
    assert (found.judge, found.iterations, [*found.candidates]) == ("gold", 24, [START, BETTER])


def test_an_altered_file_is_a_line(tmp_path):
    run = RunDir(tmp_path)
    run.stage_dir("rl").mkdir()
    frontier(START, Candidate(1, [1.0, 2.0, 1.0, 2.0], [1.0])).write(run.stage_dir("rl"))
    with pytest.raises(UserError, match=r"frontier.json"):
        read_frontier(run)
