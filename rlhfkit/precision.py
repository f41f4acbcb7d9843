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
    def mixed(self) -> Literal["bf16", "no"]:
        """The same in accelerate's words."""
        return "no" if self.autocast is None else "bf16"

    def __str__(self) -> str:
        weights = _name(self.weights)
        if self.autocast is None:
            return weights
        products = _name(self.autocast)
        frozen = "" if products == weights else f", frozen weights in {weights}"
        return f"{products} with float32 adapters, heads and losses{frozen}"


def choose_precision(device_kind: str, wanted: str, bfloat16: bool) -> Precision:
    """Mixed bfloat16 on accelerators that have it, float32 elsewhere.

    Float16 is never chosen: its gradients underflow without loss scaling. `model.dtype=float32`
    means float32 throughout, so that a card can be compared with a CPU.

    device_kind: "cuda", "mps" or "cpu". wanted: `model.dtype`. bfloat16: `has_bfloat16`.
    """
    mixed = bfloat16 and device_kind != "cpu" and wanted != "float32"
    if wanted == "auto":
        weights = torch.bfloat16 if mixed else torch.float32
    else:
        weights = getattr(torch, wanted)
    return Precision(weights, torch.bfloat16 if mixed else None)


def has_bfloat16(device_kind: str) -> bool:
    """Whether a device of this machine multiplies bfloat16 natively: the RTX 20, GTX 16 and T4
    emulate it, slowly, and PyTorch's plain question answers yes for them."""
    if device_kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device_kind == "mps" and torch.backends.mps.is_macos_or_newer(14, 0)


def device_name(device: torch.device) -> str:
    """As its maker calls it, where PyTorch knows."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
