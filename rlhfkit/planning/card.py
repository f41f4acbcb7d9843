"""The card that a run must fit: its size, and what of it tensors can take."""

from dataclasses import dataclass

import torch

from rlhfkit.config.memory_size import GIB, read_size
from rlhfkit.config.run import RunConfig

RESERVED = 0.6 * GIB
"""Bytes for the CUDA context and the libraries' kernels: an allowance, not measured."""

FRAGMENTED = 0.05
"""Share of a card that the allocator cannot use: an allowance, not measured."""


@dataclass(frozen=True)
class Card:
    """A card's memory, in bytes."""

    size: float

    taken: float = 0.0
    """By others, such as a desktop."""

    @property
    def usable(self) -> float:
        """What tensors can take."""
        return self.size * (1 - FRAGMENTED) - RESERVED - self.taken

    def __str__(self) -> str:
        taken = f", {self.taken / GIB:.1f} GB of it taken," if self.taken >= GIB / 20 else ""
        return f"a card of {self.size / GIB:.3g} GB{taken}"


def card_of(config: RunConfig) -> Card | None:
    """The card that the run is for, None on a CPU."""
    if config.gpu is not None:
        return Card(read_size(config.gpu))
    if torch.cuda.is_available():
        free, size = torch.cuda.mem_get_info()
        # this process's own tensors will be freed; its context is in the allowance
        foreign = size - free - torch.cuda.memory_reserved() - RESERVED
        return Card(float(size), max(0.0, foreign))
    return None
