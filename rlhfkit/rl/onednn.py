"""Float32 products on AMD's processors with AVX-512, by oneDNN.

torch multiplies float32 with MKL, which keeps its fastest kernels for Intel's processors. oneDNN,
which comes with torch too, asks what a processor can do and not who made it, and takes half the
time. The product is the same but for the order of its sums.
"""

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

LEAST_NUMBERS = 2**16
"""In a weight; with fewer, a call costs more than its product."""


@cache
def is_faster() -> bool:
    """Whether this processor has AVX-512 and is one whose AVX-512 MKL leaves unused."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch 2.9
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and "AMD" in str(known.get("cpu_name")) and bool(known.get("avx512_f"))


def use_onednn(model: nn.Module) -> None:
    """Let a model's large linear layers compute with `linear`, where that is faster."""
    if not is_faster():
        return
    for layer in model.modules():
        if type(layer) is nn.Linear and _suits(layer.weight):
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]


def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, gradients included; by oneDNN where that is faster."""
    if not (is_faster() and _suits(weight) and _suits_rows(states)):
        return functional.linear(states, weight, bias)
    given = [states, weight] if bias is None else [states, weight, bias]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        product: Tensor = _Product.apply(states, weight, bias)  # type: ignore[no-untyped-call]
        return product
    return _multiply(states, weight, bias)


class _Product(torch.autograd.Function):
    """oneDNN's product, which PyTorch does not differentiate by itself."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(states if weight.requires_grad else None, weight)
        return _multiply(states, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        states, weight = ctx.saved_tensors
        by_states, by_weight, by_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        return (
            _multiply(grad, weight.t()) if by_states else None,
            _multiply(rows.t(), states.flatten(0, -2).t()) if by_weight else None,
            rows.sum(0) if by_bias else None,
        )


def _multiply(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(
        rows.contiguous(), weight, bias, "none", [], ""
    )
    return found


def _forward(layer: nn.Linear, states: Tensor) -> Tensor:
    return linear(states, layer.weight, layer.bias)


def _suits(weight: Tensor) -> bool:
    return (
        type(weight) in (Tensor, nn.Parameter)  # no shard, no fake tensor of a plan
        and weight.device.type == "cpu"
        and weight.dtype is torch.float32
        and weight.numel() >= LEAST_NUMBERS
    )


def _suits_rows(states: Tensor) -> bool:
    return (
        states.dtype is torch.float32
        and states.ndim >= 2
        and states.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )
