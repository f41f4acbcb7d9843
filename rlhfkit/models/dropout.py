"""Residual dropout (Vaswani et al. 2017, section 5.4): on what attention and MLP add to the
residual stream. GPT-3's fine-tuning has it (InstructGPT, C.1)."""

import inspect
from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhfkit.errors import UserError

_OWN = ("resid_dropout", "post_attention_dropout", "post_mlp_dropout", "mlp.dropout")
"""Dropout modules of GPT-2, GPT-J and GPT-NeoX; OPT and BLOOM keep the rate as a number."""

_PARTS = ("attn", "attention", "mlp")
"""How the names of a layer's two parts end."""


def drop_residuals(body: nn.Module, rate: float) -> None:
    """Set the dropout of a model that has it, add it to one that has none (Llama, Qwen, Gemma).

    Nothing is dropped in eval mode, and nothing of it is saved. Raises `UserError` for a model
    whose layers have other parts.
    """
    layers = [layer for layer in body.modules() if isinstance(layer, GradientCheckpointingLayer)]
    places = [_set_own(layer, rate) or _hook_parts(layer, rate) for layer in layers]
    if set(places) != {2}:
        raise UserError(
            f"residual_dropout={rate}: {type(body).__name__} is not made of layers of one "
            f"attention and one MLP"
        )


def _set_own(layer: nn.Module, rate: float) -> int:
    """How many of the layer's own places were set."""
    found = 0
    for name, module in layer.named_modules():
        if isinstance(module, nn.Dropout) and name.endswith(_OWN):
            module.p = rate
            found += 1
        if name and isinstance(getattr(module, "hidden_dropout", None), float):  # BLOOM's two parts
            module.hidden_dropout = rate
            found += 1
    if isinstance(getattr(layer, "dropout", None), float):  # OPT's two places
        layer.dropout = rate  # type: ignore[assignment]
        found += 2
    return found


def _hook_parts(layer: nn.Module, rate: float) -> int:
    parts = [part for name, part in layer.named_children() if name.endswith(_PARTS)]
    if len(parts) != 2 or any("residual" in _parameters(part) for part in parts):
        return 0
    for part in parts:
        part.register_forward_hook(_Dropped(rate))
    return len(parts)


def _parameters(module: nn.Module) -> set[str]:
    return set(inspect.signature(module.forward).parameters)


class _Dropped:
    """A forward hook; attention gives its weights beside its output."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (self._of(module, output[0]), *output[1:])
        return self._of(module, output)

    def _of(self, module: nn.Module, states: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(states, self._rate, module.training)
