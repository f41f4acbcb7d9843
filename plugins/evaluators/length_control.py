"""A win rate at equal length (Dubois et al. 2024, "Length-Controlled AlpacaEval")."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlhfkit.types import Metric

Array = NDArray[np.float64]

_RIDGE = 1e-3
"""Of both coefficients, so that the fit is finite where every answer of one kind wins."""

_STEPS = 40
"""Newton steps at most; a dozen are enough unless the preferences are separable."""

_AT_ONCE = 250
"""Resamples in memory together."""


def length_controlled(
    prompts: Sequence[str],
    preferences: Sequence[float],
    gaps: Sequence[float],
    level: float,
    resamples: int,
    seed: int,
) -> Metric:
    """The share that is preferred, read where both answers are equally long, with its percentile
    bootstrap interval over prompts.

        logit P(preferred) = a + b tanh(gap / std(gap)),    sigmoid(a) is reported

    Args:
        prompts: of each answer; a prompt counts once however many answers it has.
        preferences: from 0 to 1, of each answer.
        gaps: how much longer each answer is than the other one.
    """
    index, items = _items(prompts)
    share = 1 / np.bincount(index)[index]
    wins, feature = np.asarray(preferences, float), _bounded(np.asarray(gaps, float))
    value = float(_read_at_zero(share[None, :], wins, feature)[0])
    generator = np.random.default_rng(seed)
    found = []
    for start in range(0, resamples, _AT_ONCE):
        drawn = generator.multinomial(items, [1 / items] * items, min(_AT_ONCE, resamples - start))
        found.append(_read_at_zero(drawn[:, index] * share, wins, feature))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(found), (tail, 1 - tail))
    return Metric(value, min(float(low), value), max(float(high), value), items, level)


def _items(prompts: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """For each answer the number of its prompt, and how many prompts there are."""
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    return np.array([places[prompt] for prompt in prompts]), len(places)


def _bounded(gaps: Array) -> Array:
    spread = gaps.std()
    return np.zeros_like(gaps) if spread == 0 else np.tanh(gaps / spread)


def _read_at_zero(weights: Array, wins: Array, feature: Array) -> Array:
    """[R] fitted shares at a feature of 0, by Newton's method, one fit for each row of weights
    [R, N]."""
    intercept, slope = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(-(intercept[:, None] + slope[:, None] * feature)))
        error, curve = weights * (wins - expected), weights * expected * (1 - expected)
        by_intercept = error.sum(1) - _RIDGE * intercept
        by_slope = error @ feature - _RIDGE * slope
        both = curve @ feature
        first, second = curve.sum(1) + _RIDGE, curve @ feature**2 + _RIDGE
        determinant = first * second - both**2
        step = (second * by_intercept - both * by_slope) / determinant
        intercept += np.clip(step, -2, 2)
        slope += np.clip((first * by_slope - both * by_intercept) / determinant, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(1 / (1 + np.exp(-intercept)))
