"""Lower layers that are the same in all roles: their states are computed once for a sequence.

Adapters that are only on upper layers (PEFT's `layers_to_transform`) leave the layers below them to
the base, which the roles share. A sequence's states there serve the reference, the value and the
reward model and every epoch of the update. Not with dropout, and not where lower layers train.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


@dataclass(frozen=True)
class LowerStates:
    """Hidden states of a padded batch after the lower layers."""

    states: Tensor
    """[B, L, D]."""

    depth: int
    """How many layers they have been through."""


@dataclass(frozen=True)
class LowerRows:
    """The same of single sequences, without padding."""

    rows: Sequence[Tensor]
    """[L_i, D] of sequence i, prompt and response."""

    depth: int

    def select(self, indices: Sequence[int]) -> "LowerRows":
        """Those of some sequences."""
        return LowerRows([self.rows[index] for index in indices], self.depth)

    def batch(
        self, members: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]]
    ) -> LowerStates:
        """Padded on the right. members: of each row, the sequences that share its prompt."""
        rows = [
            torch.cat([self.rows[group[0]], *(self.rows[n][len(prompts[n]) :] for n in group[1:])])
            for group in members
        ]
        return LowerStates(nn.utils.rnn.pad_sequence(rows, batch_first=True), self.depth)


def depth_below_adapters(body: nn.Module) -> int:
    """How many of a model's layers, from the lowest on, have no adapter; 0 where adapters are
    outside the layers too, and for a body that has its layers elsewhere."""
    if not any(isinstance(child, nn.ModuleList) for child in body.children()):
        return 0
    layers = getattr(body, _layers_name(body))
    adapted = [_has_adapter(layer) for layer in layers]
    inside = sum(isinstance(module, BaseTunerLayer) for module in layers.modules())
    everywhere = sum(isinstance(module, BaseTunerLayer) for module in body.modules())
    return adapted.index(True) if inside == everywhere and any(adapted) else 0


@contextmanager
def stopped(body: nn.Module, depth: int) -> Iterator["_Keep"]:
    """A model that runs its lower layers only; their states are then in `states`.

    Here and in `resumed` some layers are out of their places: no role may be made active inside.
    """
    keep = _Keep()
    layers = getattr(body, _layers_name(body))
    with _replaced(body, [*layers[:depth], *[keep] * (len(layers) - depth)]):
        yield keep


@contextmanager
def resumed(body: nn.Module, lower: LowerStates | None) -> Iterator[None]:
    """A model that takes the states of the lower layers as given; as it is for None."""
    if lower is None:
        yield
        return
    given = _Given(lower.states)
    layers = getattr(body, _layers_name(body))
    with _replaced(body, [*[given] * lower.depth, *layers[lower.depth :]]):
        yield


class _Keep(nn.Module):
    """In the place of a layer: hands its input on and remembers it."""

    states: Tensor

    def forward(self, states: Tensor, *_: Any, **__: Any) -> Tensor:
        self.states = states
        return states


class _Given(nn.Module):
    """In the place of a layer: the states it would give."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self.states


@contextmanager
def _replaced(body: nn.Module, layers: Sequence[nn.Module]) -> Iterator[None]:
    """As many as before: some models look a layer's kind up by its number."""
    name = _layers_name(body)
    kept = getattr(body, name)
    setattr(body, name, nn.ModuleList(layers))
    try:
        yield
    finally:
        setattr(body, name, kept)


def _layers_name(body: nn.Module) -> str:
    """`layers`, or `h` in GPT-2: the only list of modules a transformers body has."""
    return next(name for name, child in body.named_children() if isinstance(child, nn.ModuleList))


def _has_adapter(layer: nn.Module) -> bool:
    return any(isinstance(module, BaseTunerLayer) for module in layer.modules())
