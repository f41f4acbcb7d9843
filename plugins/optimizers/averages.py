"""Weighted means of numbers by name."""

from collections import defaultdict
from collections.abc import Mapping

from rlhfkit import processes


class Averages:
    """Collects numbers over the micro-batches and epochs of a step."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._weights: defaultdict[str, float] = defaultdict(float)

    def add(self, name: str, value: float, weight: float = 1.0) -> None:
        """Count a number with a weight."""
        self._sums[name] += weight * value
        self._weights[name] += weight

    def add_all(self, values: Mapping[str, float]) -> None:
        """Count several numbers with weight 1."""
        for name, value in values.items():
            self.add(name, value)

    def merge(self, other: "Averages") -> None:
        """Count what another one has counted."""
        for name in other._sums:
            self._sums[name] += other._sums[name]
            self._weights[name] += other._weights[name]

    def of_all_processes(self) -> "Averages":
        """What every process has counted, together."""
        together = Averages()
        for part in processes.gather([self]):
            together.merge(part)
        return together

    def means(self) -> dict[str, float]:
        """The weighted mean of each name."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}
