"""Which layers of a model get adapters."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from rlhfkit.errors import UserError, nearest


def target_modules(base: Any, wanted: Sequence[str] | None) -> list[str]:
    """The wanted linear layers by name, or all of them; never the LM head, whose weight is read
    without its module.

    Raises `UserError` when the model has none, or none of a wanted name.
    """
    known = _linear_names(base)
    if not known:
        raise UserError(
            f"{base.name_or_path}: the model has no linear layer that an adapter could go on; "
            f"loader=full needs none"
        )
    for name in wanted or ():
        if name.rpartition(".")[2] not in known:
            raise UserError(
                f"loader.lora_target_modules: {base.name_or_path} has no linear layer '{name}' "
                f"that an adapter could go on; {nearest(name, known)}"
            )
    return sorted(wanted or known)


def _linear_names(base: Any) -> set[str]:
    """Last parts of the names; GPT-2's linear layers are Conv1D, which keeps weights transposed."""
    head = base.get_output_embeddings()
    names = {
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    return names - {"out_proj"} if any(map(_is_state_space, base.modules())) else names


def _is_state_space(module: nn.Module) -> bool:
    """A Mamba mixer: on GPUs its kernels read the weight of `out_proj` without the layer, and PEFT
    refuses an adapter there."""
    return hasattr(module, "conv1d") and hasattr(module, "D")
