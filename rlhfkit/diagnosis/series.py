"""The course of one metric over the iterations of stage rl."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import fmean
from typing import Any

LEAST_WINDOW = 3
"""Iterations that a mean is taken over at least: one batch of a few dozen answers says little."""

WINDOWS = 5
"""Longer runs are looked at by fifths, so that a window says what lasted."""

MOST_WINDOW = 50
"""Iterations of a window at most: what lasts that long is news."""


@dataclass(frozen=True)
class Window:
    """Neighbouring iterations."""

    first: int
    last: int
    mean: float

    error: float
    """Standard error of the mean."""

    def __str__(self) -> str:
        return f"iterations {self.first} to {self.last}"


@dataclass(frozen=True)
class Series:
    """One metric, in the order it was logged; what is no finite number is left out."""

    steps: list[int]
    values: list[float]

    @classmethod
    def read(cls, rows: Iterable[Mapping[str, Any]], name: str) -> "Series":
        """The metric of that name, from the rows that have it."""
        points = [(int(row["step"]), row[name]) for row in rows if _is_finite(row.get(name))]
        return cls([step for step, _ in points], [float(value) for _, value in points])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def size(self) -> int:
        """Iterations of a window."""
        return min(max(LEAST_WINDOW, len(self) // WINDOWS), MOST_WINDOW)

    @property
    def start(self) -> Window:
        """The first iterations, few, for a policy may go far in a fifth of a run."""
        return self.window(0, LEAST_WINDOW)

    @property
    def end(self) -> Window:
        """The last window."""
        return self.window(max(0, len(self) - self.size), self.size)

    def windows(self) -> list[Window]:
        """All of a run side by side, the last one in full."""
        starts = range(0, len(self) - 2 * self.size + 1, self.size)
        return [*(self.window(start, self.size) for start in starts), self.end]

    def window(self, start: int, size: int) -> Window:
        """So many iterations from a place on; there must be a value among them."""
        values = self.values[start : start + size]
        steps = self.steps[start : start + size]
        error = self.noise / math.sqrt(len(values))
        return Window(steps[0], steps[-1], fmean(values), error)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of one iteration by how neighbours differ, which a trend does little
        to (von Neumann 1941); infinite for a single one."""
        steps = [(after - before) ** 2 for before, after in pairwise(self.values)]
        return math.sqrt(fmean(steps) / 2) if steps else math.inf


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
