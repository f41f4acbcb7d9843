"""Repetitions as numbers to read: medians with their range, ratios of pairs, slopes."""

import statistics
from collections.abc import Sequence

import numpy as np


def spread(values: Sequence[float]) -> str:
    """The median, and the lowest and highest: `2.1 [1.9, 2.4]`."""
    middle = statistics.median(values)
    return f"{_short(middle)} [{_short(min(values))}, {_short(max(values))}]"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Of repetitions that ran side by side, pair by pair."""
    return [high / low for high, low in zip(above, below, strict=True)]


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent p of costs ~ sizes ** p: a straight line fitted to the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def _short(value: float) -> str:
    """Two digits of what is below 1, three of the rest, or all before the point."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"
