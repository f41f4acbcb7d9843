"""Gradient checkpointing (Chen et al. 2016): layers keep their inputs only and are computed again
in the backward pass."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhfkit.errors import UserError


def checkpoint_layers(body: nn.Module, *, offload: bool = False) -> None:
    """Checkpoint every transformer layer of a model, once however many roles share it.

    offload: the inputs that layers keep wait in main memory for the backward pass.

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
            layer.forward = _Checkpointed(layer.forward, offload)


class _Checkpointed:
    """A layer's forward pass, checkpointed where gradients are taken."""

    def __init__(self, forward: Any, offload: bool) -> None:
        self._forward, self._offload = forward, offload

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._forward(*args, **kwargs)
        # what the layer itself saves goes to checkpoint's own hooks, and never arrives at these
        with saved_tensors_hooks(_to_main_memory, _back) if self._offload else nullcontext():
            return checkpoint(self._forward, *args, use_reentrant=False, **kwargs)


def _to_main_memory(states: Tensor) -> Callable[[], Tensor]:
    """Copies without waiting: the device reads and writes in its own order, the host never."""
    if isinstance(states, FakeTensor):  # a plan counts what is on the card
        return partial(torch.empty, states.shape, dtype=states.dtype, device=states.device)
    kept = torch.empty_like(states, device="cpu", pin_memory=states.is_cuda)
    kept.copy_(states, non_blocking=True)
    return partial(kept.to, states.device, non_blocking=True)


def _back(kept: Callable[[], Tensor]) -> Tensor:
    return kept()
