"""Weights in fewer bits: what can be done with them is decided by them, not by the loader."""

from typing import Any

from torch import nn

from rlhfkit.errors import UserError


def is_quantised(base: Any) -> bool:
    """Whether a transformers model's weights were quantised, by its loader or in its files."""
    return bool(getattr(base, "is_quantized", False))


def dequantised(base: Any) -> Any:
    """The same model with weights of the usual kind, to add to and to save; `UserError` where
    transformers cannot undo the quantisation."""
    try:
        whole = base.dequantize()
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{base.name_or_path}: cannot be dequantised: {error}") from error
    whole._weight_conversions = None  # by which they were read, and would be written again
    return whole


def keep_differentiable(base: nn.Module) -> None:
    """On some CPUs bitsandbytes repacks weights in the first pass without gradients, for a kernel
    that has no backward: later training passes would lose gradients in silence."""
    module: Any
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
