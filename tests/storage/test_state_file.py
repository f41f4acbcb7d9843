"""State comes back bit by bit, and reading it runs nothing."""

import random

import numpy as np
import pytest
import torch

from rlhfkit.storage.random_state import random_state, set_random_state
from rlhfkit.storage.state_file import load_state, save_state


def test_everything_nested_comes_back_as_it_was(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    state = {
        "tensors": [shared, shared.T, torch.tensor([], dtype=torch.int64), torch.tensor(3)],
        "half": torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
        0: (1, 2.5, (None, True)),
        "text": 'a "quoted" \u00e4',
        "numbers": [2**70, 0.1, float("inf"), -(2**63)],
        "empty": [{}, [], ()],
    }
    save_state(tmp_path / "state.safetensors", state)
    back = load_state(tmp_path / "state.safetensors")
    for was, now in zip(state.pop("tensors"), back.pop("tensors"), strict=True):
        assert was.dtype == now.dtype
        assert torch.equal(was, now)
    assert torch.equal(state.pop("half").view(torch.int16), back.pop("half").view(torch.int16))
    assert back == state
    assert isinstance(back[0], tuple)


def test_a_value_of_another_kind_is_not_written(tmp_path):
    with pytest.raises(TypeError, match="cannot hold <object"):
        save_state(tmp_path / "state.safetensors", {"a": [object()]})
    assert not list(tmp_path.iterdir())


def test_random_numbers_go_on(tmp_path):
    def draw():
        return random.random(), np.random.rand(), np.random.randn(), float(torch.rand(()))

    np.random.randn()  # leaves half a pair behind
    save_state(tmp_path / "random.safetensors", random_state())
    first = draw(), draw()
    set_random_state(load_state(tmp_path / "random.safetensors"))
    assert (draw(), draw()) == first
