"""Best-of-n and the curves of gold reward, on literal values and against what they must recover."""

import math
from itertools import combinations

import numpy as np
import pytest

from rlhfkit.figures.overoptimization import (
    FORMS,
    best_of_n_kl,
    best_of_n_mean,
    best_of_n_reward,
    fit,
    rl_reward,
)

PROXY = [0.3, -1.0, 2.0, 0.9, 0.1]
GOLD = [1.0, 5.0, -2.0, 4.0, 0.5]
TRUE = (0.7, 1.9, 0.4)


def test_the_kl_of_best_of_n():
    assert best_of_n_kl(1) == 0
    assert best_of_n_kl(2) == pytest.approx(0.1931472)
    assert best_of_n_kl(4) == pytest.approx(0.6362944)
    assert best_of_n_kl(1000) == pytest.approx(5.9087553)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_best_of_n_is_the_mean_over_all_draws(n):
    draws = list(combinations(range(5), n))
    wanted = sum(GOLD[max(draw, key=lambda index: PROXY[index])] for draw in draws) / len(draws)
    assert best_of_n_mean(PROXY, GOLD, n) == pytest.approx(wanted)


@pytest.mark.parametrize("values", [[0.0, 1.0, 5.0], [1.0, 0.0, 5.0], [5.0, 0.0, 1.0]])
def test_ties_are_broken_by_chance_and_not_by_position(values):
    """All three pairs that two equals and a worse one make are won by an equal, each as often."""
    proxy = [1.0 if value == 5.0 else 2.0 for value in values]
    assert best_of_n_mean(proxy, values, 2) == 0.5
    assert best_of_n_mean([3.0] * 3, values, 2) == 2.0


def test_best_of_more_than_there_are():
    with pytest.raises(ValueError, match="best of 6 from 5"):
        best_of_n_mean(PROXY, GOLD, 6)


def test_literal_rewards():
    assert rl_reward(math.e, 1.0, 3.0, 2.0) == pytest.approx(1 + math.e)  # ln e = 1
    assert rl_reward(1.0, 0.0, 3.0, 2.0) == pytest.approx(3)  # ln 1 = 0
    assert best_of_n_reward(2.0, 1.0, 3.0, 0.5) == pytest.approx(5)
    assert rl_reward(0.0, 0.25, 3.0, 2.0) == best_of_n_reward(0.0, 0.25, 3.0, 2.0) == 0.25


@pytest.mark.parametrize("form", FORMS)
def test_known_parameters_are_recovered(form):
    d = np.linspace(0, 5, 12)
    found = fit(form, d, FORMS[form](d, *TRUE))
    assert (found.start, found.alpha, found.beta) == pytest.approx(TRUE, abs=1e-6)
    assert max(found.start_error, found.alpha_error, found.beta_error) < 1e-6
    assert found.at(2.5) == pytest.approx(float(FORMS[form](2.5, *TRUE)))


@pytest.mark.parametrize("form", FORMS)
def test_standard_errors_are_those_of_linear_regression(form):
    """All parameters are linear: (X'X)^-1 s^2, with s^2 from n - 3 degrees of freedom."""
    d = np.linspace(0, 5, 30)
    reward = FORMS[form](d, *TRUE) + np.random.default_rng(0).normal(0, 0.1, len(d))
    third = {"RL": np.array([-x * math.log(x) if x else 0 for x in d]), "best-of-n": -(d**2)}
    matrix = np.stack([np.ones_like(d), d, third[form]], axis=1)
    wanted, squares, *_ = np.linalg.lstsq(matrix, reward)
    errors = np.sqrt(np.diag(np.linalg.inv(matrix.T @ matrix)) * squares[0] / (len(d) - 3))
    found = fit(form, d, reward)
    assert (found.start, found.alpha, found.beta) == pytest.approx(wanted, rel=1e-4)
    assert [found.start_error, found.alpha_error, found.beta_error] == pytest.approx(errors, 1e-4)
    assert abs(found.alpha - TRUE[1]) < 3 * found.alpha_error


def test_too_few_distances_have_no_fit():
    assert fit("RL", [0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 1.1, 1.5]) is None
