"""Weights as decoding wants them: cast once, adapters in two products, 4 bits perhaps unpacked.

A token is decoded by a few rows of numbers, so that what a layer does beside its products counts:
autocast casts the same float32 weights for every token, and an adapter adds, scales and copies.
While they are installed each layer computes the same with weights made ready beforehand; adapters
stay beside their base. Afterwards every layer is as it was.

After an update the ready weights are written anew into the same places, since recorded steps know
them by their addresses.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
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


class DecodingWeights:
    """What is made ready of one model."""

    logits: Layer
    """Makes [N, V] float32 logits of hidden states [N, D]."""

    @torch.no_grad()
    def __init__(self, model: LanguageModel, dequantise: bool = False) -> None:
        """dequantise: with a copy of 4-bit layers as products are computed, mostly two bytes a
        parameter."""
        model.activate()
        self.dequantised = dequantise
        self._model, self._state = model, _state(model)
        self._copies = _Copies()
        self._layers = _Ready(model, dequantise, self._copies).layers()
        self.logits = _head(model, self._copies)

    def serve(self, model: LanguageModel) -> bool:
        """Whether they are this model's, and all that they were made of is still in its place."""
        model.activate()
        return model is self._model and _state(model) == self._state

    def refresh(self) -> None:
        """Take over what the model's weights are now."""
        self._copies.refresh()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The model computes with them."""
        before = [(module, vars(module).get("forward")) for module, _ in self._layers]
        try:
            for module, forward in self._layers:
                module.forward = forward
            yield
        finally:
            for module, own in before:
                if own is None:
                    del module.forward
                else:
                    module.forward = own


def _state(model: LanguageModel) -> list[Any]:
    """All that ready weights and recorded steps take for granted: what the model computes with and
    in which type, where each weight is, and which adapters are in use."""
    tensors = chain(model.module.parameters(), model.module.buffers())
    layers = (module for module in model.body.modules() if isinstance(module, LoraLayer))
    return [
        model.adapter,
        model.compute_dtype,
        *map(_address, tensors),
        *((layer.merged, layer.disable_adapters, *layer.active_adapters) for layer in layers),
    ]


def _address(tensor: Tensor) -> int:
    """As `data_ptr`, which warns where fake tensors have none."""
    start = tensor.untyped_storage().data_ptr()
    return start + int(tensor.storage_offset()) * tensor.element_size()


class _Copies:
    """Tensors made of weights, which stay in their places when they are made again."""

    def __init__(self) -> None:
        self._made: list[tuple[Tensor, Callable[[], Tensor]]] = []

    def of(self, read: Callable[[], Tensor], dtype: torch.dtype) -> Tensor:
        """What is read, in a type: the weight itself where it has that type, and else a copy."""
        made = read().to(dtype)
        if not isinstance(made, nn.Parameter):
            self.add(made, read)
        return made

    def add(self, made: Tensor, read: Callable[[], Tensor]) -> None:
        """Let a tensor be what is read, after each refresh too."""
        self._made.append((made, read))

    @torch.no_grad()
    def refresh(self) -> None:
        """Read everything once more."""
        for made, read in self._made:
            made.copy_(read())


def quantised_numbers(model: LanguageModel) -> int:
    """How many parameters a model's body has in 4 bits."""
    modules: list[Any] = [module for module in model.body.modules() if _in_4_bits(module)]
    return sum(module.in_features * module.out_features for module in modules)


class _Ready:
    """Forward passes with ready weights, for the layers whose own are not as good."""

    def __init__(self, model: LanguageModel, dequantise: bool, copies: _Copies) -> None:
        self._model, self._dequantise, self._copies = model, dequantise, copies
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
            weight = self._copies.of(lambda: module.weight, self._dtype)
            return _product(weight, self._bias(module, self._dtype))
        return _fused_norm(module) if self._is_rms_norm(module) else None

    def _bias(self, module: Any, dtype: torch.dtype) -> Tensor | None:
        return None if module.bias is None else self._copies.of(lambda: module.bias, dtype)

    def _padded_bias(self, module: Any, dtype: torch.dtype, zeros: int) -> Tensor | None:
        if module.bias is None:
            return None
        padded = torch.cat([module.bias.to(dtype), module.bias.new_zeros(zeros, dtype=dtype)])
        self._copies.add(padded[:-zeros], lambda: module.bias)
        return padded

    def _dequantised(self, module: Any) -> Layer:
        """What is in 4 bits is never trained: the copy of its weight is not made again."""
        dtype = self._dtype or module.compute_dtype
        product = _product(_unpacked(module).to(dtype), self._bias(module, dtype))
        return lambda states: product(states).to(states.dtype)

    def _with_adapter(self, module: Any) -> Layer | None:
        """Its base's output plus two products; the scaling is in the second's weight."""
        name = self._model.adapter
        if not _is_plain(module, name):
            return None
        self._done |= {*module.lora_A.values(), *module.lora_B.values()}  # of other roles, too
        first, second = module.lora_A[name], module.lora_B[name]
        dtype = self._dtype or first.weight.dtype
        up = self._copies.of(lambda: second.weight * module.scaling[name], dtype).t()
        base, mixed = module.base_layer, self._dtype is not None
        rank = len(first.weight)
        if self._dequantise and mixed and _in_4_bits(base) and rank % ALIGNED == 0:
            self._done.add(base)
            joined = torch.cat([_unpacked(base).to(dtype), first.weight.to(dtype)])
            self._copies.add(joined[-rank:], lambda: first.weight)
            return _joined(joined, self._padded_bias(base, dtype, rank), up)
        return _beside(base, self._copies.of(lambda: first.weight, dtype).t(), up)

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
    return lambda states: linear(states.to(weight.dtype), weight, bias)


def _joined(weight: Tensor, bias: Tensor | None, up: Tensor) -> Layer:
    """A base and an adapter's first matrix in one product."""
    width = len(weight) - len(up)

    def forward(states: Tensor) -> Tensor:
        both = linear(states.to(weight.dtype), weight, bias).flatten(0, -2)
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


def _head(model: LanguageModel, copies: _Copies) -> Layer:
    if model.own_head:
        return lambda hidden: own_logits(model.base, hidden).float()
    head = model.head
    weight = copies.of(lambda: head.weight, model.compute_dtype or head.weight.dtype)

    def logits(hidden: Tensor) -> Tensor:
        found = head_logits(hidden, weight, head.bias).float()
        if model.logit_softcap is not None:
            found = model.logit_softcap * torch.tanh(found / model.logit_softcap)
        return found

    return logits
