"""Gradient checkpointing (Chen et al. 2016): layers keep their inputs only and are computed again
in the backward pass."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhfkit.errors import UserError


def checkpoint_layers(body: nn.Module) -> None:
    """Checkpoint every transformer layer of a model, once however many roles share it.

    transformers' own switch looks at train mode, which would bring dropout into the updates of rl,
    and forbids caches; here passes without gradients stay as they are. Non-reentrant, so that
    gradients reach adapters on frozen layers, whose inputs want none.
    """
    layers = [layer for layer in body.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise UserError(
            f"gradient_checkpointing=true: {type(body).__name__} has no layers that transformers "
            f"could checkpoint"
        )
    for layer in layers:
        if not isinstance(layer.forward, _Checkpointed):
            layer.forward = _Checkpointed(layer.forward)


class _Checkpointed:
    """A layer's forward pass, checkpointed where gradients are taken."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            return checkpoint(self._forward, *args, use_reentrant=False, **kwargs)
        return self._forward(*args, **kwargs)
