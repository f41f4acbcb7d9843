"""Sequences that are written together in places that stay, in fewer rows as they end."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhfkit.types import Ends
from rlhfkit_plugins.samplers.cached import Decoding, Written
from rlhfkit_plugins.samplers.cuda_graphs import CudaGraphs, Step
from rlhfkit_plugins.samplers.static_decoding import Places, StaticStep

SMALLEST_BUCKET = 8
"""Rows that are decoded at least; fewer would hardly be faster."""

LONGER = 4 / 3
"""How much longer than its texts the part of a cache may be that a recorded step reads."""

StepOf = Callable[[int], Step]
"""The step on so many rows."""


def bucket(rows: int) -> int:
    """The next power of two, so that few numbers of rows are ever decoded."""
    return max(SMALLEST_BUCKET, 1 << (rows - 1).bit_length())


class Static:
    """Places, and the steps on their first rows, recorded when they are first needed."""

    def __init__(
        self,
        places: Places,
        window: int,
        make: Callable[[Places, float], StaticStep],
        graphs: CudaGraphs,
    ) -> None:
        """make: a step on places, which draws at a temperature."""
        self.places, self.window = places, window
        self._make, self._graphs = make, graphs
        self._steps: dict[tuple[int, float], dict[int, Step]] = {}

    @property
    def rows(self) -> int:
        """How many there is room for."""
        return len(self.places.last)

    @property
    def length(self) -> int:
        """How many tokens of a sequence there is room for."""
        return self.places.mask.shape[-1]

    def step(self, rows: int, length: int, temperature: float) -> Step:
        """A step on the first rows, for sequences up to a length: one that was recorded for
        somewhat longer ones costs less than recording another."""
        steps = self._steps.setdefault((rows, temperature), {})
        if self._graphs.enabled:
            recorded = [own for own in steps if length <= own <= LONGER * length]
            length = min(recorded, default=length)
        if length not in steps:
            places = self.places.first(rows, length)
            step = self._make(places, temperature)
            steps[length] = self._graphs.recorded(step, places.small())
        return steps[length]


@dataclass
class _Window:
    """Steps whose results are on their way to the host."""

    rows: dict[int, int]
    """Sequence by row."""
    tokens: Tensor
    logprobs: Tensor
    arrived: Any
    """What tells that they are there; None where they are."""

    @classmethod
    def sent(cls, rows: dict[int, int], places: Places, steps: int, count: int) -> "_Window":
        """The first steps of the first `count` rows. What is sent is pinned memory of its own."""
        tokens, logprobs = places.tokens[:steps, :count], places.logprobs[:steps, :count]
        if places.last.device.type != "cuda":
            return cls(rows, tokens.cpu(), logprobs.cpu(), None)
        tokens = tokens.to("cpu", non_blocking=True)
        logprobs = logprobs.to("cpu", non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        return cls(rows, tokens, logprobs, arrived)

    def lists(self) -> tuple[list[list[int]], list[list[float]]]:
        """[rows][steps] of both, once they are there."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tokens.t().tolist(), self.logprobs.t().tolist()


class Batch:
    """Sequences that are written together, and where in the places each of them is.

    On CUDA the host reads a window's tokens while the next one is computed, and so learns one
    window late what has ended.
    """

    def __init__(self, static: Static, step: StepOf, written: Written, ends: Ends) -> None:
        self._static, self._step, self.written, self._ends = static, step, written, ends
        self.open = {row: row for row in range(len(written.ids))}
        """Sequence by row; the rows between and behind them are computed for nothing."""
        self._rows = bucket(len(self.open))
        self._device = static.places.last.device
        self._index = _uploaded(list(self.open), self._device)
        self._windows: deque[_Window] = deque()
        self._filled = 0

    @property
    def room(self) -> int:
        """Steps that are left in the window."""
        return self._static.window - self._filled

    def fill(self, started: Decoding, tokens: Tensor, logprobs: Tensor) -> None:
        """Start with prompts that were read, and the token drawn after each."""
        self._static.places.fill(started, tokens, logprobs)
        self._filled = 1

    def run(self, steps: int, generator: torch.Generator) -> None:
        """So many tokens more for every row, which end the window; look at what has ended."""
        places = self._static.places
        drawn = slice(self._filled, self._filled + steps)
        shape, dtype = (steps, len(self.open)), places.uniform.dtype
        numbers = torch.rand(shape, generator=generator, device=self._device, dtype=dtype)
        places.uniform[drawn].index_copy_(1, self._index, numbers)
        step = self._step(self._rows)
        for _ in range(steps):
            step()
        self._windows.append(_Window.sent(dict(self.open), places, drawn.stop, self._rows))
        places.step.zero_()
        self._filled = 0
        late = 1 if self._device.type == "cuda" else 0
        while len(self._windows) > late:
            self._read()

    def shrink(self) -> None:
        """Move to a smaller number of rows, where those that are open fit one."""
        rows = bucket(len(self.open))
        if rows < self._rows:
            self._static.places.take(self._index)
            self.open = dict(enumerate(self.open.values()))
            self._index = _uploaded(list(self.open), self._device)
            self._rows = rows

    def read_all(self) -> None:
        """Wait for what is on its way."""
        while self._windows:
            self._read()

    def _read(self) -> None:
        window = self._windows.popleft()
        tokens, logprobs = window.lists()
        going = set(self.open.values())
        for row, sequence in window.rows.items():
            if sequence in going and not self.written.extend(
                sequence, tokens[row], logprobs[row], self._ends
            ):
                going.remove(sequence)
        if len(going) < len(self.open):
            self.open = {row: name for row, name in self.open.items() if name in going}
            self._index = _uploaded(list(self.open), self._device)


def _uploaded(values: Sequence[int], device: torch.device) -> Tensor:
    """Numbers on a device, without waiting for it."""
    numbers = torch.tensor(values, dtype=torch.long)
    if device.type == "cuda":
        return numbers.pin_memory().to(device, non_blocking=True)
    return numbers.to(device)
