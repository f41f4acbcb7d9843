"""Every global random state of a process, to be saved and taken up again."""

import random

import numpy as np
import torch

from rlhfkit.state_file import State


def random_state() -> State:
    """Of Python, NumPy and PyTorch, on the CPU and on every CUDA card."""
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    keys, place = numpy["state"]["key"], numpy["state"]["pos"]
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {"key": keys.tolist(), "pos": place}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: State) -> None:
    """Go on from a state that `random_state` gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
