"""Frozen models that wait in main memory while they are not used."""

import torch
from torch import nn


class IdleOffload:
    """Room on the device for one frozen model at a time, beside the trained ones that stay.

    Every model of a run shares one; each call of a model first asks it for room.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._guest: nn.Module | None = None

    def make_room(self, model: nn.Module, frozen: bool) -> None:
        """A model is about to compute: the frozen one on the device leaves it, unless that is this
        one, and a frozen model comes in."""
        if model is self._guest:
            return
        if self._guest is not None:
            self._guest.to("cpu")
        self._guest = model.to(self.device) if frozen else None
