"""The card that a run must fit: its size, and what of it tensors can take."""

from dataclasses import dataclass

import torch

from rlhfkit.config.memory_size import GIB, read_size
from rlhfkit.config.run import RunConfig

RESERVED = 0.85 * GIB
"""Bytes for the CUDA context, the libraries' kernels and recorded graphs: 0.83 GiB were held beside
PyTorch's memory on an H100 after all phases of a QLoRA run (benchmarks/results/gpu_first_h100.json,
PyTorch 2.11 for CUDA 13)."""

FRAGMENTED = 0.05
"""Share of a card that the allocator cannot use: an allowance. The allocator gave back what it held
in vain (0.4 to 0.6 GiB of 3 to 14 in that run) where a limit made it."""

WORKSPACES = 0.2 * GIB
"""Bytes that libraries take from PyTorch's allocator inside their kernels, where a plan cannot see
them, such as cuBLAS's workspaces: peaks of that run lay 0.15 to 0.24 GiB above their plans in every
phase, from 1.5B to 14B alike."""


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
