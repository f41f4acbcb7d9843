"""Counts what a real card would feel: operations started on it, and waits until it is done.

    with Counting() as counted:
        trainer.step()
    assert counted.waits.total() == 1, counted.waits

The CPU's formula of attention is several operations where a card has one kernel.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parents[2]
OURS = (f"{ROOT / 'rlhfkit'}/", f"{ROOT / 'plugins'}/")
ELSEWHERE = "elsewhere"

Place = tuple[str, str]
"""An operation, and the line of the project that called it: `rlhfkit/online/rollout.py:12`."""

# the size of the result, or the result itself, is known on the host only when the card is done
_WAITING = {
    "_local_scalar_dense",
    "_unique",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_COPYING = {"_to_copy", "copy_", "_copy_from"}
_NO_KERNEL = {
    "_local_scalar_dense",  # a copy of one number
    "_unsafe_view",
    "empty",
    "empty_like",
    "empty_strided",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "resize_",
    "set_",
}


class Counting(TorchDispatchMode):
    """Counts while it is entered, in the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        """Operations on the card that are neither views nor allocations."""

        self.waits: Counter[Place] = Counter()
        """Times the host needs what the card computed."""

        self.uploads: Counter[Place] = Counter()
        """Copies to the card that are waited for, since they are not `non_blocking`."""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        given, made = _on_card((args, kwargs)), _on_card(result)
        if name in _COPYING:
            self._count_copy(name, args, kwargs, result)
        elif given and (name in _WAITING or _waits_for_size(name, args, kwargs)):
            self.waits[name, _place()] += 1
        if (given or made) and name not in _NO_KERNEL and not _is_view(func):
            self.kernels[name] += 1
        return result

    def _count_copy(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: torch.Tensor
    ) -> None:
        source = args[0] if name != "copy_" else args[1]
        at_once = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
        if at_once or source.is_cuda == result.is_cuda:
            return
        (self.waits if source.is_cuda else self.uploads)[name, _place()] += 1


def _on_card(values: Any) -> bool:
    return any(isinstance(value, torch.Tensor) and value.is_cuda for value in tree_leaves(values))


def _is_view(func: Any) -> bool:
    aliases = [returned.alias_info for returned in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _waits_for_size(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    indices = args[1] if name in _INDEXING else ()
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _place() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(OURS):
            return f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return ELSEWHERE
