"""Fake tensors, and answers for what they cannot know: their values.

Whatever is asked of a value gets the answer that takes the most memory: a mask is full, no sequence
ends. Numbers read out are 1.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_aten = torch.ops.aten


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Every tensor made inside has a shape, a type and no storage; a `WorstCase` must follow."""
    apply, nn.Module._apply = nn.Module._apply, _apply_by_replacing  # type: ignore[method-assign]
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        nn.Module._apply = apply  # type: ignore[method-assign]


def _apply_by_replacing(
    module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True
) -> nn.Module:
    """`Module.to` and the like. PyTorch's own swaps fake parameters in place and fails, because
    the mode itself keeps weak references to them."""
    for child in module.children() if recurse else ():
        child._apply(function)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, parameter in module._parameters.items():
            if parameter is not None and (new := function(parameter)) is not parameter:
                module._parameters[name] = nn.Parameter(new, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = function(buffer)
    return module


class WorstCase(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Stands in front of fake tensors. Token ids, positions and masks that no fake tensor went into
    stay real, so that only what a model computes is unknown."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:  # half of all calls
            return getattr(args[0], "fake_device", None) or func(*args)
        if _known(func, args, kwargs):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is _aten._local_scalar_dense.default:
            return 1.0 if args[0].is_floating_point() else args[0].dtype is not torch.bool
        if func is _aten.nonzero.default:
            return args[0].new_empty((args[0].numel(), args[0].ndim), dtype=torch.int64)
        if func is _aten.exponential_.default:  # fake tensors refuse its generator
            return args[0]
        if func is _aten.index.Tensor:
            return func(args[0], _as_positions(args[1]))
        return func(*args, **kwargs)


def _known(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether an operation's result is known: all its inputs are, or it makes whole numbers."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if tensors:
        return not any(isinstance(tensor, FakeTensor) or tensor.is_meta for tensor in tensors)
    dtype = kwargs.get("dtype")
    if dtype is None:  # the default is float, save for arange of whole numbers
        return func._overloadpacket is _aten.arange and all(isinstance(item, int) for item in args)
    return not dtype.is_floating_point


def _as_positions(indices: list[Tensor | None]) -> list[Tensor | None]:
    """Masks as positions: of a mask that is known where its values are, of a full one elsewhere."""
    positions: list[Tensor | None] = []
    for index in indices:
        if index is None or index.dtype is not torch.bool:
            positions.append(index)
        elif isinstance(index, FakeTensor):
            count = index.numel()
            positions += [index.new_empty(count, dtype=torch.int64) for _ in range(index.ndim)]
        else:
            with unset_fake_temporarily():
                positions += index.nonzero().unbind(1)
    return positions
