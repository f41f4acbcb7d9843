"""Random states of all devices, on machines with other devices than the one that saved them."""

import pytest
import torch

from rlhfkit.storage.random_state import random_state, set_random_state


@pytest.fixture
def cards(monkeypatch):
    """`cards(n)`: so many cards are visible; what is set on them is in the list it returns."""

    def show(count):
        told = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(
            torch.cuda,
            "get_rng_state_all",
            lambda: [torch.tensor([index]) for index in range(count)],
        )
        monkeypatch.setattr(
            torch.cuda, "set_rng_state", lambda state, device: told.append((int(state), device))
        )
        return told

    return show


@pytest.mark.parametrize(("saved", "here"), [(2, 2), (2, 1), (1, 2), (2, 0)])
def test_cards_that_are_here_get_their_states(cards, saved, here):
    cards(saved)
    state = random_state()
    told = cards(here)
    set_random_state(state)
    assert told == [(index, index) for index in range(min(saved, here))]


def test_a_checkpoint_that_knows_of_no_apple_gpu_is_read():
    state = random_state()
    del state["mps"]
    expected = torch.rand(3)
    set_random_state(state)
    assert torch.equal(torch.rand(3), expected)


def test_apples_gpu(monkeypatch):
    told = []
    monkeypatch.setattr(torch.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: torch.tensor([7]))
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: told.append(int(state)))
    set_random_state(random_state())
    assert told == [7]
