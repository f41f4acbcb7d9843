"""The card that a run must fit: its size, and what of it tensors can take."""

import re

import torch

from rlhfkit.config import RunConfig
from rlhfkit.errors import UserError

GIB = 2**30

RESERVED = 0.6 * GIB
"""Bytes for the CUDA context and the libraries' kernels: an allowance, not measured."""

FRAGMENTED = 0.05
"""Share of a card that the allocator cannot use: an allowance, not measured."""

_UNITS = {"GB": GIB, "GIB": GIB, "MB": 2**20, "MIB": 2**20}


def card_of(config: RunConfig) -> float | None:
    """Bytes of the card that the run is for, None on a CPU."""
    if config.gpu is not None:
        return read_size(config.gpu)
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory)
    return None


def read_size(text: str) -> float:
    """Bytes of `12GB` or `800MB`; cards are sold in gigabytes of 2^30 bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    if not found or found.group(2).upper() not in _UNITS:
        raise UserError(f"gpu={text}: not a size; write it as in gpu=12GB")
    return float(found.group(1)) * _UNITS[found.group(2).upper()]


def usable(card: float) -> float:
    """Bytes of a card that tensors can take."""
    return card * (1 - FRAGMENTED) - RESERVED
