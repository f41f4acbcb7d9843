"""Out of memory: the batch is halved and the step repeated, in every phase in the same way."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from rlhfkit.config.stages import RlConfig
from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.models.spare_memory import reclaim

T = TypeVar("T")
Row = TypeVar("Row")

_ADVICE = "shorter texts (model.max_prompt_length, sampler.response_length), loader=qlora"


class Tokens(int):
    """A batch size in tokens, padding included, where a plain number is one in rows."""


def micro_batch(options: RlConfig) -> int:
    """How much stage rl computes at once, in rows or in tokens."""
    tokens = options.micro_batch_tokens
    return options.micro_batch_size if tokens is None else Tokens(tokens)


class DoesNotFit(UserError):
    """Memory runs out with a single row."""


class AdaptiveBatchSize:
    """How many rows or tokens a phase computes at once: as many as asked for, halved when memory
    runs out and nobody holds any that is spare.

    The size that fitted is remembered, so keep one object for all calls of a phase. Peaks differ
    with the texts' lengths, so it may end up smaller than most batches need; only speed suffers.
    """

    def __init__(self, phase: str, size: int, checkpointing: str | None = None) -> None:
        """phase: as messages call it. checkpointing: the option that helps where it trains."""
        self.phase, self.size = phase, size
        self._advice = f"{_ADVICE} or {checkpointing}" if checkpointing else _ADVICE

    def run(
        self, rows: int, compute: Callable[[int], T], undo: Callable[[], object] = lambda: None
    ) -> T:
        """`compute(size)`, repeated after `undo()` whenever memory runs out: without what others
        hold to save time, and then with half the size.

        rows: how many there are; of a smaller batch it is that one that is halved.
        """
        while True:
            size = self.of(rows)
            try:
                return compute(size)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # out of the except block: the error's traceback holds on to tensors
            if not reclaim(self.phase):
                self._halve(size)
            undo()
            clear_device_cache(garbage_collection=True)

    def of(self, rows: int) -> int:
        """The size for a batch of so many rows."""
        return self.size if isinstance(self.size, Tokens) else min(self.size, rows)

    def map(
        self,
        rows: Sequence[Row],
        compute: Callable[[Sequence[Row]], T],
        lengths: Sequence[int] | None = None,
    ) -> Iterator[tuple[Sequence[Row], T]]:
        """Groups of rows with `compute` of each; of a group that did not fit only that is repeated.

        The next group is computed when it is asked for. lengths: of the rows, the shortest first;
        groups then have as many tokens as that many of the longest rows, or as the size says.
        """
        start = 0
        while start < len(rows):
            left = rows[start:]
            costs = lengths[start:] if lengths else [1] * len(left)

            def first(size: int) -> tuple[Sequence[Row], T]:
                group = left[: how_many_fit(costs, size)]  # noqa: B023
                return group, compute(group)

            group, result = self.run(len(left), first)
            yield group, result
            start += len(group)

    def _halve(self, size: int) -> None:
        if size == 1:
            raise DoesNotFit(
                f"out of memory in {self.phase} with one row at a time: try {self._advice}"
            )
        self.size = type(size)(size // 2)
        unit = "tokens" if isinstance(size, Tokens) else "rows"
        console.print(
            f"out of memory in {self.phase} with {size} {unit} at a time: "
            f"again, and from now on, with {self.size}",
            soft_wrap=True,
        )


def how_many_fit(lengths: Sequence[int], size: int) -> int:
    """How many rows from the first on have, padded, no more tokens than `size` of the longest, or
    than `size` where that is in tokens; one at least. lengths ascend."""
    budget = size if isinstance(size, Tokens) else size * lengths[-1]
    fitting = (n for n in range(len(lengths), 0, -1) if n * lengths[n - 1] <= budget)
    return next(fitting, 1)


def rows_of(size: int, length: int) -> int:
    """How many rows of a length a size takes."""
    return max(1, size // length) if isinstance(size, Tokens) else size


_NO_MEMORY = re.compile(
    "out of memory|_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED.*cublasCreate"
    "|NVML_SUCCESS == r INTERNAL ASSERT FAILED",
    re.DOTALL,
)
"""What the driver, cuBLAS, cuDNN, MPS and PyTorch's allocator say on a full device, beside the
errors that have a type of their own."""


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch or a library below it found no memory. After any other error of the driver,
    as an illegal address, the device computes nothing any more."""
    if isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error):
        return True
    return bool(_NO_MEMORY.search(str(error)))


@contextmanager
def advise_when_full(what: str) -> Iterator[None]:
    """Memory that runs out in here is `DoesNotFit`: nothing can be halved while `what` happens."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DoesNotFit(
            f"out of memory in {what}: try loader=qlora, a smaller model, or what "
            f"`rlhfkit plan` with the same options proposes"
        ) from error
