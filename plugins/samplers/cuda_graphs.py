"""A step of static work as one launch: recorded once as a CUDA graph, then replayed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from rlhfkit.models.batch_size import is_out_of_memory
from rlhfkit.models.probing import say_once

WARM_UP = 2
"""Runs before recording, in which libraries make what they make once."""

Step = Callable[[], None]


class CudaGraphs:
    """Records steps; one that cannot be recorded runs as it is, and so do all after it."""

    def __init__(self, device: torch.device, wanted: bool = True) -> None:
        self.enabled = wanted and device.type == "cuda"
        self._pool: Any = None

    def recorded(self, step: Step, changed: Iterable[Tensor]) -> Step:
        """The step as a replay. changed: what it changes and must find as it was."""
        if not self.enabled:
            return step
        kept = [(tensor, tensor.clone()) for tensor in changed]
        stream = torch.cuda.current_stream()
        try:
            return self._record(step, kept)
        except RuntimeError as error:
            torch.cuda.set_stream(stream)  # which a capture that failed does not
            if is_out_of_memory(error):
                raise
            self.enabled = False
            reason = " ".join(str(error).split())[:200]
            say_once(f"sampler=graph: no CUDA graph, steps are launched one by one: {reason}")
        _restore(kept)
        return step

    def _record(self, step: Step, kept: list[tuple[Tensor, Tensor]]) -> Step:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step()
                _restore(kept)
        torch.cuda.current_stream().wait_stream(stream)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            step()
        replay: Step = graph.replay
        return replay


def _restore(kept: list[tuple[Tensor, Tensor]]) -> None:
    for tensor, before in kept:
        tensor.copy_(before)
