"""Weighted means of numbers by name."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rlhfkit.distributed import processes


class _Unread(NamedTuple):
    """A number that may still be on the device."""

    name: str
    value: Tensor
    weight: Tensor
    is_part: bool


class Averages:
    """Collects numbers over the micro-batches and epochs of a step.

    Tensors stay on the device until a mean is asked for, and are then read together: reading each
    would wait for the device as often.
    """

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._weights: defaultdict[str, float] = defaultdict(float)
        self._unread: list[_Unread] = []

    def add(self, name: str, value: float | Tensor, weight: float | Tensor = 1.0) -> None:
        """Count a number with a weight."""
        if isinstance(value, Tensor):
            self._unread.append(_Unread(name, value.detach(), _like(value, weight), False))
        else:
            self._count(name, value, float(weight))

    def add_part(self, name: str, part: Tensor, share: float | Tensor) -> None:
        """Count the contribution of a share of the rows to a mean over all of them."""
        self._unread.append(_Unread(name, part.detach(), _like(part, share), True))

    def add_all(self, values: Mapping[str, float]) -> None:
        """Count several numbers with weight 1."""
        for name, value in values.items():
            self.add(name, value)

    def merge(self, other: "Averages") -> None:
        """Count what another one has counted."""
        for name in other._sums:
            self._sums[name] += other._sums[name]
            self._weights[name] += other._weights[name]
        self._unread += other._unread

    def of_all_processes(self) -> "Averages":
        """What every process has counted, together."""
        self._read()
        together = Averages()
        for part in processes.gather([self]):
            together.merge(part)
        return together

    def means(self) -> dict[str, float]:
        """The weighted mean of each name."""
        self._read()
        return {name: total / self._weights[name] for name, total in self._sums.items()}

    def _count(self, name: str, value: float, weight: float) -> None:
        self._sums[name] += weight * value
        self._weights[name] += weight

    def _read(self) -> None:
        if not self._unread:
            return
        values = torch.stack([item.value for item in self._unread])
        weights = torch.stack([item.weight for item in self._unread])
        pairs = torch.stack([values, weights], dim=1).tolist()
        for item, (value, weight) in zip(self._unread, pairs, strict=True):
            self._count(item.name, value / weight if item.is_part else value, weight)
        self._unread = []


def _like(value: Tensor, weight: float | Tensor) -> Tensor:
    """A weight beside its number, on the same device."""
    return weight if isinstance(weight, Tensor) else value.new_full((), weight)
