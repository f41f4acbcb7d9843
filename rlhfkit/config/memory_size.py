"""`gpu=12GB` as bytes. No torch here."""

import re

from rlhfkit.errors import UserError

GIB = 2**30

_UNITS = {"GB": GIB, "GIB": GIB, "MB": 2**20, "MIB": 2**20}


def read_size(text: str) -> float:
    """Bytes of `12GB` or `800MB`; cards are sold in gigabytes of 2^30 bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text.strip())
    if not found or found.group(2).upper() not in _UNITS:
        raise UserError(f"gpu={text}: not a size; write it as in gpu=12GB")
    return float(found.group(1)) * _UNITS[found.group(2).upper()]
