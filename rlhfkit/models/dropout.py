"""Residual dropout (Vaswani et al. 2017, section 5.4): on the output of attention and MLP before it is
added to the residual stream. GPT-3's fine-tuning has it (InstructGPT, C.1)."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhfkit.errors import UserError

_OWN = ("resid_dropout", "post_attention_dropout", "post_mlp_dropout", "mlp.dropout")
"""Where architectures have it themselves: GPT-2 and GPT-J, GPT-NeoX."""

_PARTS = ("attn", "attention", "mlp")
"""How the names of a layer's two parts end."""


def drop_residuals(body: nn.Module, rate: float) -> None:
    """Set the dropout of a model that has it, add it to one that has none (Llama, Qwen, Gemma).

    Nothing is dropped in eval mode, and nothing of it is saved. Raises `UserError` for layers with
    neither.
    """
    layers = [layer for layer in body.modules() if isinstance(layer, GradientCheckpointingLayer)]
    places = sum(_set_own(layer, rate) or _hook_parts(layer, rate) for layer in layers)
    if not places:
        raise UserError(
            f"residual_dropout={rate}: {type(body).__name__} has no layers with attention and MLP "
            f"to put it on"
        )


def _set_own(layer: nn.Module, rate: float) -> int:
    own = [
        module
        for name, module in layer.named_modules()
        if isinstance(module, nn.Dropout) and name.endswith(_OWN)
    ]
    for module in own:
        module.p = rate
    return len(own)


def _hook_parts(layer: nn.Module, rate: float) -> int:
    parts = [part for name, part in layer.named_children() if name.endswith(_PARTS)]
    for part in parts:
        part.register_forward_hook(_Dropped(rate))
    return len(parts)


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
