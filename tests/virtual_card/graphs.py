"""CUDA graphs on the virtual card: the operations of a capture, done again on the same places.

What the host did in between is not repeated, and a wait for the card fails, as on a real one.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from tests.virtual_card.counting import Counting


class Graph:
    """What `torch.cuda.CUDAGraph` does."""

    made = 0
    """Captures in this process."""

    def __init__(self, keep_graph: bool = False) -> None:
        self.work: list[tuple[Any, Any, Any, Any]] = []

    @torch.autocast("cuda", enabled=False)  # its casts are among the operations
    def replay(self) -> None:
        for function, args, kwargs, result in self.work:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class _Capture(Counting):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = zip(func._schema.arguments, args, strict=False)
        written = [arg for of, arg in given if of.alias_info and of.alias_info.is_write]
        self._before += [(tensor, tensor.clone()) for tensor in written]
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if self.waits or self.uploads:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        self._graph.work.append((func, args, kwargs or {}, result))
        return result

    def undo(self) -> None:
        """A capture does nothing yet."""
        for tensor, before in reversed(self._before):
            tensor.copy_(before)


@contextlib.contextmanager
def capture(graph: Graph, **options: Any) -> Iterator[None]:
    """What `torch.cuda.graph` does."""
    with _Capture(graph) as captured:
        yield
    captured.undo()
    Graph.made += 1


def install() -> None:
    """Put both in their places."""
    torch.cuda.CUDAGraph, torch.cuda.graph = Graph, capture
    torch.cuda.graph_pool_handle = lambda: (0, 1)
