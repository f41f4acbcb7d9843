"""sampler=graph: decoding as the replay of one recorded step.

Eager decoding on a GPU waits for the host, which launches thousands of small operations a token.
Here all tensors stay in their places, so that a step is recorded once for each number of rows as a
CUDA graph; on other devices the same steps run one by one, with the same tokens.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.distributed.fsdp import sharded_parts
from rlhfkit.models.decoding_weights import decoding_weights, quantised_numbers
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.merging import merged_adapter
from rlhfkit.models.probing import follows, kind_of, say_once
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import GraphConfig
from rlhfkit_plugins.samplers.batched import BatchedSampler
from rlhfkit_plugins.samplers.cached import (
    CHECK_EVERY,
    CachedSampler,
    Decoding,
    Written,
    draw,
    number_type,
)
from rlhfkit_plugins.samplers.cuda_graphs import CudaGraphs, Step
from rlhfkit_plugins.samplers.static_decoding import Logits, Places, StaticStep

SMALLEST_BUCKET = 8
"""Rows that are decoded at least; fewer would hardly be faster."""

ROUNDED_TO = 64
"""Tokens that the cache's length is a multiple of, as attention's kernels like it."""

SPARE = 2 * 2**30
"""Bytes that stay free beside a dequantised copy."""


class GraphSampler(BatchedSampler):
    """Plain sampling at a temperature; the tokens are those of sampler=cached."""

    def __init__(self, config: GraphConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._config = config
        planned = context is not None and context.dry_run is not None
        self._rounded_to = 1 if planned else ROUNDED_TO  # a plan tells long texts from short ones
        self._fallback: CachedSampler | None = None
        self._static: _Static | None = None
        self._logits: Logits | None = None
        self._longest = 0

    def check(self, model: LanguageModel) -> None:
        """Leave a model that this way of decoding does not follow to sampler=cached."""
        self._fallback = None
        probe = GraphSampler(replace(self._config, temperature=1.0, response_length=4))
        if not sharded_parts(model.module) and follows(model, partial(probe._drawn, model)):
            return
        say_once(
            f"sampler=graph: {kind_of(model)} has a cache or an attention that this sampler cannot "
            f"drive; sampler=cached samples instead, which is slower on a GPU"
        )
        self._fallback = CachedSampler(self._config)
        self._fallback.check(model)

    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        """With weights made ready, and with the adapter merged where that is exact."""
        if self._fallback is not None:
            return self._fallback.sample(model, prompts, ends, generator)
        self._longest = max(map(len, prompts), default=0)
        merged = merged_adapter(model) if self._config.merge_adapters else nullcontext()
        ready = decoding_weights(model, self._dequantises(model))
        with torch.no_grad(), merged, ready as self._logits:
            try:
                return super().sample(model, prompts, ends, generator)
            finally:
                self._static = self._logits = None

    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        with _autocast(model):
            try:
                return self._decode(model, prompts, ends, generator)
            except BaseException:
                self._static = None  # its memory, where that was short
                raise

    def _decode(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        started = Decoding.start(model, prompts)
        tokens, logprobs = draw(model, started.hidden, self.temperature, generator)
        static = self._room(model, started)
        batch = _Batch(static, Written.of(len(prompts)), ends)
        batch.fill(started, tokens, logprobs)
        left = self.response_length - 1
        while True:
            steps = min(left, batch.room)
            batch.run(steps, generator)
            left -= steps
            if left == 0 or not batch.open:
                break
            batch.shrink()
        batch.read_all()
        return batch.written.responses(ends)

    def _room(self, model: LanguageModel, started: Decoding) -> "_Static":
        """Places for the largest batch of this call, made for the first one."""
        if self._static is None or self._static.rows < len(started.rows):
            self._static = None
            assert self._logits is not None
            window = 1 if model.device.type == "cpu" else CHECK_EVERY
            length = self._longest + self.response_length
            length = -(-length // self._rounded_to) * self._rounded_to
            rows = bucket(len(started.rows))
            places = Places.like(started, rows, length, window, number_type(model.device))
            graphs = CudaGraphs(model.device, self._config.capture)
            make = partial(StaticStep, model, self._logits, self.temperature)
            self._static = _Static(places, window, make, graphs)
        return self._static

    def _dequantises(self, model: LanguageModel) -> bool:
        """Whether 4-bit layers get a copy in half precision: as asked, or where it has room."""
        if self._config.dequantise is not None:
            return self._config.dequantise
        if model.device.type != "cuda":
            return False
        free = torch.cuda.mem_get_info(model.device)[0]
        free += torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return free - 2 * quantised_numbers(model) > SPARE + self._cache_size(model)

    def _cache_size(self, model: LanguageModel) -> int:
        """Bytes of keys and values, at most."""
        config: Any = model.body.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        tokens = bucket(self.batch_size.size) * (self._longest + self.response_length)
        return int(4 * config.num_hidden_layers * heads * width * tokens)

    def _drawn(
        self, model: LanguageModel, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[int], Tensor]]:
        """What is drawn after each prompt, with its log-probabilities."""
        generator = torch.Generator(model.device).manual_seed(0)
        drawn = self.sample(model, prompts, Ends((-1,)), generator)
        return [(response.ids, torch.tensor(response.logprobs)) for response in drawn]


def bucket(rows: int) -> int:
    """The next power of two, so that few numbers of rows are ever decoded."""
    return max(SMALLEST_BUCKET, 1 << (rows - 1).bit_length())


class _Static:
    """Places, and the steps on their first rows, recorded when they are first needed."""

    def __init__(
        self,
        places: Places,
        window: int,
        make: Callable[[Places], StaticStep],
        graphs: CudaGraphs,
    ) -> None:
        self.places, self.window = places, window
        self._make, self._graphs = make, graphs
        self._steps: dict[int, Step] = {}

    @property
    def rows(self) -> int:
        """How many there is room for."""
        return len(self.places.last)

    def step(self, rows: int) -> Step:
        """A step on the first rows."""
        if rows not in self._steps:
            places = self.places.first(rows)
            self._steps[rows] = self._graphs.recorded(self._make(places), places.small())
        return self._steps[rows]


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


class _Batch:
    """Sequences that are written together, and where in the places each of them is.

    On CUDA the host reads a window's tokens while the next one is computed, and so learns one
    window late what has ended.
    """

    def __init__(self, static: _Static, written: Written, ends: Ends) -> None:
        self._static, self.written, self._ends = static, written, ends
        self.open = {row: row for row in range(len(written.ids))}
        """Sequence by row; the rows between and behind them are computed for nothing."""
        self._rows = bucket(len(self.open))
        self._device = static.places.last.device
        self._index = uploaded(list(self.open), self._device)
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
        step = self._static.step(self._rows)
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
            self._index = uploaded(list(self.open), self._device)
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
            self._index = uploaded(list(self.open), self._device)


def uploaded(values: Sequence[int], device: torch.device) -> Tensor:
    """Numbers on a device, without waiting for it."""
    numbers = torch.tensor(values, dtype=torch.long)
    if device.type == "cuda":
        return numbers.pin_memory().to(device, non_blocking=True)
    return numbers.to(device)


def _autocast(model: LanguageModel) -> AbstractContextManager[None]:
    """The model's mixed precision without its store of cast weights, which would be recorded."""
    if model.compute_dtype is None:
        return nullcontext()
    return torch.autocast(model.device.type, model.compute_dtype, cache_enabled=False)
