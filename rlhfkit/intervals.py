"""Means with bootstrap intervals."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from rlhfkit.types import Metric, PolicySamples

_AT_ONCE = 500
"""Resamples in memory together."""


def by_prompt(samples: PolicySamples, values: Sequence[float]) -> list[float]:
    """The mean of each prompt's values: answers to one prompt are not independent."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for prompt, value in zip(samples.prompts, values, strict=True):
        found[repr(prompt)].append(value)
    return [sum(group) / len(group) for group in found.values()]


def item_rows(samples: PolicySamples, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """A row an answer, with the numbers of it in columns."""
    return [
        {
            "policy": samples.policy,
            "prompt": prompt,
            "completion": completion,
            **dict(zip(columns, values, strict=True)),
        }
        for prompt, completion, *values in zip(
            samples.prompts, samples.completions, *columns.values(), strict=True
        )
    ]


def interval(values: Sequence[float], level: float, resamples: int, seed: int) -> Metric:
    """The mean of independent values with its percentile bootstrap interval (Efron 1979).

    level: of confidence, between 0 and 1. A constant sample has an interval of width 0.
    Raises `ValueError` without values.
    """
    if not values:
        raise ValueError("interval: no values")
    if min(values) == max(values):  # scipy gives NaN for some of these
        return Metric(values[0], values[0], values[0], len(values), level)
    result = bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        method="percentile",
        batch=_AT_ONCE,
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Metric(float(np.mean(values)), float(low), float(high), len(values), level)


def ratio_interval(
    hits: Sequence[float], totals: Sequence[float], level: float, resamples: int, seed: int
) -> Metric:
    """The sum of the hits over the sum of the totals, with its percentile bootstrap interval over
    independent items: each has a number of hits and a total above 0."""
    value, count = sum(hits) / sum(totals), len(totals)
    shares = {hit / total for hit, total in zip(hits, totals, strict=True)}
    if len(shares) == 1:
        return Metric(value, value, value, count, level)

    def ratio(own: np.ndarray, of: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(own.sum(axis=axis) / of.sum(axis=axis))

    result = bootstrap(
        (hits, totals),
        ratio,
        paired=True,
        confidence_level=level,
        n_resamples=resamples,
        method="percentile",
        batch=_AT_ONCE,
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Metric(value, float(low), float(high), count, level)
