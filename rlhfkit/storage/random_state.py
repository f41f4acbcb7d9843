"""Every global random state of a process, to be saved and taken up again."""

import os
import random

import numpy as np
import torch

from rlhfkit.storage.state_file import State


def use_deterministic_kernels() -> None:
    """Before the first product on a card: PyTorch warns of what it has no such kernel for, as
    cumsum, by which sampler=cached draws."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def random_state() -> State:
    """The random states of Python, NumPy and PyTorch, on CPU, CUDA cards and Apple's GPU."""
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    keys, place = numpy["state"]["key"], numpy["state"]["pos"]
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {"key": keys.tolist(), "pos": place}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.mps.is_available() else None,
    }


def set_random_state(state: State) -> None:
    """Go on from a state that `random_state` gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index, own in enumerate(state["cuda"][:here]):  # there may be fewer cards than there were
        torch.cuda.set_rng_state(own, index)
    mps = state.get("mps")  # older checkpoints have none
    if mps is not None and torch.mps.is_available():
        torch.mps.set_rng_state(mps)
