"""Judgements that took far less or more time than others."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from rlhfkit.labelling.judged import Judged

_FARTHEST = 3.5
"""Largest modified z-score of what is no outlier (Iglewicz & Hoaglin 1993)."""

_FEWEST = 10
"""Fewer judgements than this have no outliers."""


@dataclass(frozen=True)
class TimeOutlier:
    """One judgement."""

    labeler: str
    item: str
    seconds: float
    too_fast: bool


def time_outliers(judged: Iterable[Judged]) -> list[TimeOutlier]:
    """By the modified z-score of the logarithm of the seconds a completion, over all labelers: one
    who clicks through everything is seen among others."""
    timed = [(one, one.seconds) for one in judged if one.seconds is not None]
    logs = [math.log(max(seconds, 0.001) / len(one.ranks)) for one, seconds in timed]
    if len(logs) < _FEWEST:
        return []
    middle = median(logs)
    spread = median(abs(value - middle) for value in logs)
    return [
        TimeOutlier(one.labeler, one.item, seconds, too_fast=value < middle)
        for (one, seconds), value in zip(timed, logs, strict=True)
        if 0.6745 * abs(value - middle) > _FARTHEST * spread > 0
    ]
