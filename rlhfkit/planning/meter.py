"""Counts the memory and the work of a computation on fake tensors."""

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rlhfkit.planning.worst_case import WorstCase

PARTS = ("base", "adapters", "gradients", "optimizer", "activations", "KV cache", "logits")
"""What memory is counted under. `base`: all weights that no adapter or head adds."""

_aten = torch.ops.aten


@dataclass(frozen=True)
class Rates:
    """What a device does in a second: it is the slower of the two that an operation waits for."""

    flops: float
    bytes: float


@dataclass
class Reading:
    """What one phase takes."""

    seconds: float = 0.0
    peaks: dict[bool, Counter[str]] = field(default_factory=dict)
    """Bytes by part at the highest moment with logits in memory (True) and without (False). Each
    of the two grows evenly with the number of layers; which is higher may change."""


class Meter(Protocol):
    """What a rehearsal tells of itself while it runs."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Take a reading of what happens meanwhile."""

    def next_phase(self, name: str) -> None:
        """Go on under another name."""

    def counting_as(self, part: str) -> AbstractContextManager[None]:
        """Count what is made meanwhile under a part."""

    def set_part(self, part: str) -> str:
        """Count what is made from now on under a part; returns the one before."""

    def mark(self, tensor: Tensor, part: str) -> None:
        """Move a tensor that is counted already to another part."""


class MemoryMeter(WorstCase):  # type: ignore[no-untyped-call]
    """Bytes of all live storages by part, and their peaks in every phase.

    A storage is counted from the operation that makes it until nothing refers to it, as the
    allocator of a device does.
    """

    def __init__(self, vocabulary: int, rates: Rates) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._vocabulary, self._rates = vocabulary, rates
        self._storages: dict[int, tuple[str, int]] = {}
        self._part = "activations"
        self._reading = Reading()
        self.live: Counter[str] = Counter()
        self.readings: dict[str, Reading] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = super().__torch_dispatch__(func, types, args, kwargs)
        if func is torch.ops.prim.device.default:
            return output
        made = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if sum([self._see(leaf, self._part_of(func, leaf, args)) for leaf in made]):
            self._work(func, args, kwargs or {}, output, made)
        return output

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take a reading of what happens meanwhile."""
        self.next_phase(name)
        yield
        self._reading = Reading()

    def next_phase(self, name: str) -> None:
        """Go on under another name, from what is live now; no change where it is the same."""
        self._reading = self.readings.setdefault(name, Reading())
        self._note_peak()

    @contextmanager
    def counting_as(self, part: str) -> Iterator[None]:
        """Count what is made meanwhile under a part."""
        before = self.set_part(part)
        yield
        self.set_part(before)

    def set_part(self, part: str) -> str:
        """Count what is made from now on under a part; returns the one before."""
        before, self._part = self._part, part
        return before

    def mark(self, tensor: Tensor, part: str) -> None:
        """Move a tensor that is counted already to another part."""
        key = id(tensor.untyped_storage())
        if key in self._storages:
            old, size = self._storages[key]
            self.live[old] -= size
            self.live[part] += size
            self._storages[key] = (part, size)

    def _part_of(self, func: Any, tensor: Tensor, args: tuple[Any, ...]) -> str:
        if self._part != "activations":
            return self._part
        if tensor.ndim > 1 and tensor.shape[-1] == self._vocabulary and tensor.is_floating_point():
            return "logits"
        grows = func is _aten.cat.default and len(args) > 1 and args[1] in (2, -2)
        return "KV cache" if grows and tensor.ndim == 4 else "activations"

    def _see(self, tensor: Tensor, part: str) -> bool:
        """Whether the tensor's storage is new."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._storages:
            return False
        size = storage.nbytes()
        self._storages[key] = (part, size)
        weakref.finalize(storage, self._release, key)
        self.live[part] += size
        self._note_peak()
        return True

    def _release(self, key: int) -> None:
        part, size = self._storages.pop(key)
        self.live[part] -= size

    def _note_peak(self) -> None:
        peaks, logits = self._reading.peaks, self.live["logits"] > 0
        if logits not in peaks or self.live.total() > peaks[logits].total():
            peaks[logits] = Counter(self.live)

    def _work(self, func: Any, args: Any, kwargs: Any, output: Any, made: list[Tensor]) -> None:
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        moved = sum(tensor.numel() * tensor.itemsize for tensor in (*read, *made))
        count = flop_registry.get(func._overloadpacket)
        flops = count(*args, **kwargs, out_val=output) if count else 0
        self._reading.seconds += max(flops / self._rates.flops, moved / self._rates.bytes)
