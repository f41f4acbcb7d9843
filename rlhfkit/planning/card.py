"""The card that a run must fit: its size, and what of it tensors can take."""

import re
from dataclasses import dataclass

import torch

from rlhfkit.config.run import RunConfig
from rlhfkit.errors import UserError

GIB = 2**30

RESERVED = 0.6 * GIB
"""Bytes for the CUDA context and the libraries' kernels: an allowance, not measured."""

FRAGMENTED = 0.05
"""Share of a card that the allocator cannot use: an allowance, not measured."""

_UNITS = {"GB": GIB, "GIB": GIB, "MB": 2**20, "MIB": 2**20}


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


def read_size(text: str) -> float:
    """Bytes of `12GB` or `800MB`; cards are sold in gigabytes of 2^30 bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    if not found or found.group(2).upper() not in _UNITS:
        raise UserError(f"gpu={text}: not a size; write it as in gpu=12GB")
    return float(found.group(1)) * _UNITS[found.group(2).upper()]
