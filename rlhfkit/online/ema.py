"""The moving average of the policy's weights (InstructGPT, C.4)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from rlhfkit.distributed.fsdp import shard_like
from rlhfkit.storage.state_file import State


class WeightAverage:
    """avg <- decay avg + (1 - decay) weights after every step; with decay 0 the last weights."""

    def __init__(self, parameters: list[Tensor], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self._average: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Move a step towards what the weights are now; the first time, start there."""
        if self._decay == 0:
            return
        if not self._average:
            self._average = [parameter.detach().clone() for parameter in self._parameters]
        torch._foreach_lerp_(self._average, self._parameters, 1 - self._decay)

    def state_dict(self) -> State:
        """The average so far."""
        return {"average": self._average}

    def load_state_dict(self, state: State) -> None:
        """Go on from a state."""
        device = self._parameters[0].device
        places = zip(
            self._parameters, state["average"], strict=False
        )  # there may be no average yet
        self._average = [shard_like(parameter, average.to(device)) for parameter, average in places]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters have their averaged weights in the block, and their own after it."""
        own = [parameter.detach().clone() for parameter in self._parameters if self._average]
        self.take()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, weight in zip(self._parameters, own, strict=False):
                    parameter.copy_(weight)

    @torch.no_grad()
    def take(self) -> None:
        """Give the parameters their averaged weights, where there is an average."""
        for parameter, average in zip(self._parameters, self._average, strict=False):
            parameter.copy_(average)
