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
from torch.nn.functional import linear, rms_norm

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.own_head import own_logits
from rlhfkit.rl.logprobs import head_logits

Layer = Callable[[Tensor], Tensor]

ALIGNED = 8
"""Numbers that a row of a product has a multiple of, where a card's fast kernels take it."""


@contextmanager
def decoding_weights(model: LanguageModel, dequantise: bool = False) -> Iterator[Layer]:
    """Gives what makes [N, V] float32 logits of hidden states [N, D].

    dequantise: with a copy of 4-bit layers in half precision, two bytes a parameter.
    """
    model.activate()
    made = _Ready(model, dequantise).layers()
    kept = [(module, vars(module).get("forward")) for module, _ in made]
    try:
        for module, forward in made:
            module.forward = forward
        yield _head(model)
    finally:
        for module, before in kept:
            if before is None:
                del module.forward
            else:
                module.forward = before


def quantised_numbers(model: LanguageModel) -> int:
    """How many parameters a model's body has in 4 bits."""
    modules: list[Any] = [module for module in model.body.modules() if _in_4_bits(module)]
    return sum(module.in_features * module.out_features for module in modules)


class _Ready:
    """Forward passes with ready weights, for the layers whose own are not as good."""

    def __init__(self, model: LanguageModel, dequantise: bool) -> None:
        self._model, self._dequantise = model, dequantise
        self._dtype = model.compute_dtype
        self._fused: dict[type, bool] = {}
        self._done: set[nn.Module] = set()

    def layers(self) -> list[tuple[Any, Layer]]:
        """Layers, and their other forward passes."""
        pairs = [(module, self._forward(module)) for module in self._model.body.modules()]
        return [(module, forward) for module, forward in pairs if forward is not None]

    def _forward(self, module: Any) -> Layer | None:
        if module in self._done:
            return None
        if isinstance(module, LoraLayer):
            return self._with_adapter(module)
        if _in_4_bits(module):
            return self._dequantised(module) if self._dequantise else None
        if type(module) is nn.Linear and self._dtype not in (None, module.weight.dtype):
            return _product(module.weight.to(self._dtype), module.bias)
        return _fused_norm(module) if self._is_rms_norm(module) else None

    def _dequantised(self, module: Any) -> Layer:
        product = _product(_unpacked(module).to(self._dtype or module.compute_dtype), module.bias)
        return lambda states: product(states).to(states.dtype)

    def _with_adapter(self, module: Any) -> Layer | None:
        """Its base's output plus two products; the scaling is in the second's weight."""
        name = self._model.adapter
        if not _is_plain(module, name):
            return None
        down, up = module.lora_A[name].weight, module.lora_B[name].weight
        dtype = self._dtype or down.dtype
        down, up = down.to(dtype), (up * module.scaling[name]).to(dtype).t()
        base = module.base_layer
        mixed = self._dtype is not None
        if self._dequantise and mixed and _in_4_bits(base) and len(down) % ALIGNED == 0:
            self._done.add(base)
            return _joined(_unpacked(base).to(dtype), base.bias, down, up)
        return _beside(base, down.t(), up)

    def _is_rms_norm(self, module: Any) -> bool:
        """Whether PyTorch's kernel computes what a layer does; asked once for a kind of layer."""
        if not (type(module).__name__.endswith("RMSNorm") and _cuda(module)):
            return False
        if type(module) not in self._fused:
            weight: Tensor = module.weight
            states = torch.linspace(-3, 2, len(weight), device=weight.device).to(weight.dtype)
            own, fused = module(states), _fused_norm(module)(states)
            self._fused[type(module)] = torch.allclose(own, fused, rtol=0.02, atol=0.02)
        return self._fused[type(module)]


def _cuda(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and weight.is_cuda and weight.ndim == 1


def _fused_norm(module: Any) -> Layer:
    own, weight = type(module).forward, module.weight
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", 1e-6))

    def forward(states: Tensor) -> Tensor:
        if states.dtype != weight.dtype:
            result: Tensor = own(module, states)
            return result
        with torch.autocast(states.device.type, enabled=False):
            return rms_norm(states, weight.shape, weight, epsilon)

    return forward


def _product(weight: Tensor, bias: Tensor | None) -> Layer:
    bias = None if bias is None else bias.to(weight.dtype)
    return lambda states: linear(states.to(weight.dtype), weight, bias)


def _joined(weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor) -> Layer:
    """A base and an adapter's first matrix in one product."""
    width = len(weight)
    joined = torch.cat([weight, down])
    if bias is not None:
        bias = torch.cat([bias.to(weight.dtype), bias.new_zeros(len(down)).to(weight.dtype)])

    def forward(states: Tensor) -> Tensor:
        both = linear(states.to(joined.dtype), joined, bias).flatten(0, -2)
        added = torch.addmm(both[:, :width], both[:, width:], up)
        return added.view(*states.shape[:-1], width).to(states.dtype)

    return forward


def _beside(base: nn.Module, down: Tensor, up: Tensor) -> Layer:
    def forward(states: Tensor) -> Tensor:
        result: Tensor = base(states)
        rows = states.to(down.dtype).flatten(0, -2) @ down
        added = torch.addmm(result.flatten(0, -2).to(down.dtype), rows, up)
        return added.view(result.shape).to(result.dtype)

    return forward


def _unpacked(module: Any) -> Tensor:
    from bitsandbytes.functional import dequantize_4bit

    weight: Tensor = dequantize_4bit(module.weight.data, module.weight.quant_state)
    return weight


def _is_plain(module: Any, name: str | None) -> bool:
    """Whether a layer adds one adapter of plain LoRA to a linear layer, and nothing else."""
    base = module.get_base_layer()
    return bool(
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


def _head(model: LanguageModel) -> Layer:
    if model.own_head:
        return lambda hidden: own_logits(model.base, hidden).float()
    weight, bias = model.head.weight, model.head.bias
    if model.compute_dtype is not None:
        weight = weight.to(model.compute_dtype)

    def logits(hidden: Tensor) -> Tensor:
        found = head_logits(hidden, weight, bias).float()
        if model.logit_softcap is not None:
            found = model.logit_softcap * torch.tanh(found / model.logit_softcap)
        return found

    return logits
