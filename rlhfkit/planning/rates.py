"""How fast a device is: a matrix product and a memory copy, measured."""

import time
from collections.abc import Callable

import torch

from rlhfkit.planning.meter import Rates

ASSUMED = Rates(flops=20e12, bytes=200e9)
"""Rates taken for a card that is not here: a guess at a small one, said to be so."""


def measured_rates(device: torch.device) -> Rates:
    """Rates of this device, in the precision it trains in; takes under a second."""
    on_gpu = device.type == "cuda"
    size, dtype = (4096, torch.bfloat16) if on_gpu else (1024, torch.float32)
    one = torch.ones(size, size, dtype=dtype, device=device)
    many = torch.ones(2**26 if on_gpu else 2**24, device=device)
    return Rates(
        flops=2 * size**3 / _fastest(lambda: one @ one, device),
        bytes=2 * many.nbytes / _fastest(lambda: many.clone(), device),
    )


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)
