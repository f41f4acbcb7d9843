"""The mathematics of reward-model overoptimization (Gao et al. 2022, arXiv 2210.10760).

Letters: d is the square root of the KL to the initial policy, in nats; N completions of one prompt,
of which the best of n is taken.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from scipy.optimize import curve_fit
from scipy.special import xlogy

FEWEST_POINTS = 4
"""Distances that differ; three parameters need one more for a standard error."""


def best_of_n_kl(n: int) -> float:
    """KL of the best of n to the policy that they are drawn from: ln n - (n - 1) / n nats."""
    return math.log(n) - (n - 1) / n


def best_of_n_mean(proxy: Sequence[float], values: Sequence[float], n: int) -> float:
    """The expected value of the completion that the proxy scores best, over all ways to draw n of
    the N completions without putting back: unbiased (Nakano et al. 2021, arXiv 2112.09332). Of
    completions with the same score each is as likely to be taken.

    proxy, values: [N]. Raises `ValueError` unless 1 <= n <= N.
    """
    count = len(proxy)
    if not 1 <= n <= count:
        raise ValueError(f"best of {n} from {count} completions")
    # the i-th by proxy wins when the other n - 1 are among the i below it
    worst_first = sorted(range(count), key=lambda index: proxy[index])
    chosen, place = 0.0, 0
    for _, group in groupby(worst_first, key=lambda index: proxy[index]):
        equal = [values[index] for index in group]
        ways = sum(math.comb(place + offset, n - 1) for offset in range(len(equal)))
        chosen += ways * (sum(equal) / len(equal))
        place += len(equal)
    return chosen / math.comb(count, n)


def rl_reward(d: Any, start: float, alpha: float, beta: float) -> Any:
    """Gold reward of RL: start + d (alpha - beta ln d) (section 1)."""
    return start + alpha * d - beta * xlogy(d, d)


def best_of_n_reward(d: Any, start: float, alpha: float, beta: float) -> Any:
    """Gold reward of best-of-n: start + d (alpha - beta d) (section 1)."""
    return start + d * (alpha - beta * d)


FORMS: Mapping[str, Callable[..., Any]] = {"RL": rl_reward, "best-of-n": best_of_n_reward}


@dataclass(frozen=True)
class Fit:
    """The parameters of a curve, each with its standard error; `start` is the initial policy's
    reward, which the paper takes as 0."""

    form: str
    start: float
    alpha: float
    beta: float
    start_error: float
    alpha_error: float
    beta_error: float

    def at(self, d: Any) -> Any:
        """The curve's reward at these distances."""
        return FORMS[self.form](d, self.start, self.alpha, self.beta)


def fit(form: str, d: Sequence[float], reward: Sequence[float]) -> Fit | None:
    """Least squares through gold rewards; None for fewer than `FEWEST_POINTS` distances.

    form: of `FORMS`. The start is fitted with the rest: what was measured of it is one noisy point.
    """
    if len(set(d)) < FEWEST_POINTS:
        return None
    found, covariance = curve_fit(FORMS[form], np.asarray(d), np.asarray(reward), p0=(0, 1, 0))
    return Fit(form, *map(float, found), *map(float, np.sqrt(np.diag(covariance))))
