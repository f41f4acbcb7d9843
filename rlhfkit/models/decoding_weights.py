"""Weights as decoding wants them: cast once, adapters in two products, 4 bits perhaps unpacked.

A token is decoded by a few rows of numbers, so that what a layer does beside its products counts:
autocast casts the same float32 weights for every token, and an adapter adds, scales and copies.
Inside the context each layer computes the same with weights made ready beforehand; adapters stay
beside their base. Afterwards every layer is as it was.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn.functional import linear

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.own_head import own_logits
from rlhfkit.rl.logprobs import head_logits

Layer = Callable[[Tensor], Tensor]


@contextmanager
def decoding_weights(model: LanguageModel, dequantise: bool = False) -> Iterator[Layer]:
    """Gives what makes [N, V] float32 logits of hidden states [N, D].

    dequantise: with a copy of 4-bit layers in half precision, two bytes a parameter.
    """
    model.activate()
    dtype = model.compute_dtype
    kept: list[tuple[Any, Any]] = []
    try:
        for module in list(model.body.modules()):
            made = _ready(model, module, dtype, dequantise)
            if made is not None:
                kept.append((module, vars(module).get("forward")))
                module.forward = made
        yield _head(model, dtype)
    finally:
        for module, forward in reversed(kept):
            if forward is None:
                del module.forward
            else:
                module.forward = forward


def quantised_numbers(model: LanguageModel) -> int:
    """How many parameters a model's body has in 4 bits."""
    return sum(
        module.in_features * module.out_features
        for module in model.body.modules()
        if _in_4_bits(module)
    )


def _ready(
    model: LanguageModel, module: nn.Module, dtype: torch.dtype | None, dequantise: bool
) -> Layer | None:
    """A layer's forward pass with ready weights; None where its own is as good."""
    if isinstance(module, LoraLayer):
        return _with_adapter(model, module, dtype)
    if _in_4_bits(module):
        return _dequantised(module, dtype) if dequantise else None
    if type(module) is nn.Linear and dtype is not None and module.weight.dtype != dtype:
        return _cast(module, dtype)
    return None


def _cast(module: nn.Linear, dtype: torch.dtype) -> Layer:
    return _product(module.weight.to(dtype), module.bias, dtype)


def _dequantised(module: Any, dtype: torch.dtype | None) -> Layer:
    from bitsandbytes.functional import dequantize_4bit

    weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
    computed = dtype or module.compute_dtype or weight.dtype
    return _product(weight.to(computed), module.bias, computed)


def _product(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Layer:
    bias = None if bias is None else bias.to(dtype)
    return lambda states: linear(states.to(dtype), weight, bias)


def _with_adapter(model: LanguageModel, module: Any, dtype: torch.dtype | None) -> Layer | None:
    """Its base's output plus two products; the scaling is in the second's weight."""
    name = model.adapter
    if not _is_plain(module, name):
        return None
    down, up = module.lora_A[name].weight, module.lora_B[name].weight
    computed = dtype or down.dtype
    down, up = down.to(computed).t(), (up * module.scaling[name]).to(computed).t()
    base = module.base_layer

    def forward(states: Tensor) -> Tensor:
        result = base(states)
        rows = states.to(computed).flatten(0, -2) @ down
        added = torch.addmm(result.flatten(0, -2).to(computed), rows, up)
        return added.view(result.shape).to(result.dtype)

    return forward


def _is_plain(module: Any, name: str | None) -> bool:
    """Whether a layer adds one adapter of plain LoRA to a linear layer, and nothing else."""
    base = module.get_base_layer()
    return (
        name in module.lora_A
        and name not in module.lora_variant
        and not module.lora_bias[name]
        and not module.merged
        and not module.disable_adapters
        and module.active_adapters == [name]
        and (type(base) is nn.Linear or _in_4_bits(base))
        and not isinstance(module.base_layer, BaseTunerLayer)
    )


def _in_4_bits(module: Any) -> bool:
    """Whether a layer's weight is packed as bitsandbytes' `Linear4bit` packs it."""
    return getattr(getattr(module, "weight", None), "quant_state", None) is not None


def _head(model: LanguageModel, dtype: torch.dtype | None) -> Layer:
    if model.own_head:
        return lambda hidden: own_logits(model.base, hidden).float()
    weight, bias = model.head.weight, model.head.bias
    if dtype is not None:
        weight = weight.to(dtype)

    def logits(hidden: Tensor) -> Tensor:
        found = head_logits(hidden, weight, bias).float()
        if model.logit_softcap is not None:
            found = model.logit_softcap * torch.tanh(found / model.logit_softcap)
        return found

    return logits
