"""The precision of a run: the one place where it is chosen, by the device and `model.dtype`.

Adapters, heads, trained weights, log-softmax, KL, advantages and losses are float32 everywhere;
what is chosen is the precision of frozen weights and of the matrix products.
"""

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Precision:
    """What every stage of a run computes in."""

    weights: torch.dtype
    """Precision of frozen weights, and of the products of a 4-bit base."""

    autocast: torch.dtype | None
    """Precision of matrix products, where it is not that of the weights in them."""

    @property
    def mixed(self) -> Literal["bf16", "fp16", "no"]:
        """The same in accelerate's words."""
        if self.autocast is None:
            return "no"
        return "fp16" if self.autocast == torch.float16 else "bf16"

    def __str__(self) -> str:
        weights = _name(self.weights)
        if self.autocast is None:
            return weights
        products = _name(self.autocast)
        frozen = "" if products == weights else f", frozen weights in {weights}"
        return f"{products} with float32 adapters, heads and losses{frozen}"


def choose_precision(device_kind: str, wanted: str, half: torch.dtype | None) -> Precision:
    """Mixed precision on accelerators that have a 16-bit type, float32 elsewhere.

    `model.dtype=float32` means float32 throughout, so that a card can be compared with a CPU.

    device_kind: "cuda", "mps" or "cpu". wanted: `model.dtype`. half: `half_of`.
    """
    products = None if device_kind == "cpu" or wanted == "float32" else half
    own = products or torch.float32
    return Precision(own if wanted == "auto" else getattr(torch, wanted), products)


def half_of(device_kind: str) -> torch.dtype | None:
    """The 16-bit type that a device of this machine multiplies fast: bfloat16 where it is native;
    float16, whose losses are scaled, on RTX 20, GTX 16, T4 and V100, which emulate bfloat16, slowly
    (PyTorch's plain question answers yes for them); None on older cards."""
    if device_kind == "mps":
        return torch.bfloat16 if torch.backends.mps.is_macos_or_newer(14, 0) else None
    if device_kind != "cuda":
        return None
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16 if torch.cuda.get_device_capability() >= (7, 0) else None


def device_name(device: torch.device) -> str:
    """As its maker calls it, where PyTorch knows."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
