"""The processes of a run under `accelerate launch`, one a device; a single one shares with nobody.

Every process runs the same program on the same rows, so all know the same numbers. Only the work of
models is shared out: each process computes its share of the rows, and all get everybody's results.
No torch here before it is needed.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=1)
"""Others wait while the main process works by itself; a process that dies ends them all at once."""

BUCKET = 2**24
"""Numbers that are summed over processes in one message."""

_nested = 0


def world_size() -> int:
    """How many processes share the work."""
    return 1 if _nested else int(_environment("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this one is, from 0."""
    return 0 if _nested else int(_environment("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


@contextmanager
def single_process() -> Iterator[None]:
    """A block that is computed as by a single process: nothing is shared out or waited for."""
    global _nested
    _nested += 1
    try:
        yield
    finally:
        _nested -= 1


def local_shard(rows: Sequence[T]) -> Sequence[T]:
    """The rows that this process works on, next to each other; perhaps none."""
    start, stop = (len(rows) * place // world_size() for place in (rank(), rank() + 1))
    return rows[start:stop]


def map_sharded(compute: Callable[[Sequence[T]], Sequence[Any]], rows: Sequence[T]) -> list[Any]:
    """`compute(rows)`, a result a row in their order: every process computes those of its share,
    as if it were alone, and gets all."""
    if world_size() == 1:
        return list(compute(rows))
    own = local_shard(rows)
    with single_process():
        results = list(compute(own)) if own else []
    return gather(results)


def generator(seed: int, device: "torch.device") -> "torch.Generator":
    """For samples: each process draws others, so their number changes what is drawn."""
    import torch

    return torch.Generator(device).manual_seed(seed + rank())


def gather(results: list[T]) -> list[T]:
    """The results of all processes, those of the first in front. Small ones: they are pickled."""
    if world_size() == 1:
        return results
    import torch.distributed

    init_process_group()
    parts: list[list[T]] = [[] for _ in range(world_size())]
    torch.distributed.all_gather_object(parts, results)
    return [result for part in parts for result in part]


def gather_tensors(rows: Sequence["Tensor"]) -> list["Tensor"]:
    """The same of tensors of one type and any shapes, on this process's device; not pickled."""
    if world_size() == 1:
        return list(rows)
    import torch

    device = init_process_group()
    shapes = gather([[(row.shape, row.dtype) for row in rows]])
    known = [shape for part in shapes for shape in part]
    if not known:
        return []
    lengths = [sum(shape.numel() for shape, _ in part) for part in shapes]
    flat = torch.zeros(max(lengths), dtype=known[0][1], device=device)
    if rows:
        flat[: lengths[rank()]] = torch.cat([row.detach().reshape(-1) for row in rows])
    parts = [torch.empty_like(flat) for _ in shapes]
    torch.distributed.all_gather(parts, flat)
    return [row for part, sizes in zip(parts, shapes, strict=True) for row in _cut(part, sizes)]


def all_reduce_sum(number: "Tensor") -> "Tensor":
    """The sum over the processes of a tensor that each has one of."""
    if world_size() == 1:
        return number
    import torch.distributed

    summed = number.detach().to(init_process_group(), copy=True)
    torch.distributed.all_reduce(summed)
    return summed.to(number.device)


def sum_gradients(parameters: Iterable["Tensor"]) -> None:
    """Give each parameter the sum of all processes' gradients; one that has none anywhere keeps
    none."""
    if world_size() == 1:
        return
    import torch

    every = list(parameters)
    found = all_reduce_sum(torch.tensor([row.grad is not None for row in every]).int())
    wanted = [row for row, times in zip(every, found.tolist(), strict=True) if times]
    for row in wanted:
        if row.grad is None:
            row.grad = torch.zeros_like(row)
    for bucket in _buckets(wanted):
        grads = [row.grad for row in bucket if row.grad is not None]
        summed = all_reduce_sum(torch.cat([grad.reshape(-1) for grad in grads]))
        for grad, part in zip(grads, torch.split(summed, [g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))


def on_main_process(action: Callable[..., object], *arguments: Any) -> None:
    """Let the main process do something once all have come this far; the others wait for it."""
    barrier()
    if is_main():
        with single_process():
            action(*arguments)
    barrier()


def barrier() -> None:
    """Until all processes have come this far."""
    if world_size() > 1:
        gather([None])


def first_to_fail() -> bool:
    """Whether no other process has failed before: one message is enough, wherever it is from."""
    if world_size() == 1:
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = TCPStore(address, port, timeout=timedelta(seconds=5), wait_for_workers=False)
        return bool(store.add("rlhfkit/failed", 1) == 1)
    except RuntimeError:  # the launcher is gone or keeps no store: rather twice than never
        return True


def init_process_group() -> "torch.device":
    """Meet the other processes, as accelerate does, where that has not happened yet; gives the
    device of this one."""
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    has_gpu = torch.accelerator.is_available()
    if not (has_gpu or under_deepspeed()):  # accelerate takes it for a single process otherwise
        os.environ["ACCELERATE_USE_CPU"] = "true"
    options = {"cpu": parse_flag_from_env("ACCELERATE_USE_CPU"), "timeout": LONGEST_WAIT}
    device: torch.device = PartialState(backend=None if has_gpu else "gloo", **options).device
    return device


def device() -> "torch.device":
    """Where this process computes, as accelerate chooses it."""
    if world_size() > 1:
        return init_process_group()
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    own: torch.device = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device
    return own


def under_deepspeed() -> bool:
    """Whether accelerate hands trainers' models over to DeepSpeed."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def shutdown() -> None:
    """The end of a run that went well; one of several processes does not come back from it.

    Gloo's threads may still hold tensors, and abort the process where they free them while Python
    ends (pytorch#190489): so Python's own end is left out.
    """
    if world_size() > 1:
        import torch.distributed

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _environment(name: str, otherwise: str) -> str:
    """What the launcher says; LOCAL_RANK is how accelerate tells that there is one."""
    return os.environ.get(name, otherwise) if "LOCAL_RANK" in os.environ else otherwise


def _cut(flat: "Tensor", sizes: Sequence[tuple["torch.Size", "torch.dtype"]]) -> list["Tensor"]:
    import torch

    counts = [shape.numel() for shape, _ in sizes]
    parts = torch.split(flat[: sum(counts)], counts)
    return [part.view(shape) for part, (shape, _) in zip(parts, sizes, strict=True)]


def _buckets(rows: Sequence["Tensor"]) -> Iterator[list["Tensor"]]:
    """Rows of one dtype and device, next to each other, up to `BUCKET` numbers or a single row."""
    bucket: list[Tensor] = []
    for row in rows:
        full = sum(each.numel() for each in bucket) + row.numel() > BUCKET
        if bucket and (full or (row.dtype, row.device) != (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket = []
        bucket.append(row)
    if bucket:
        yield bucket
