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
        if not known & {name, name.rpartition(".")[2]}:
            raise UserError(
                f"loader.lora_target_modules: {base.name_or_path} has no linear layer '{name}' "
                f"that an adapter could go on; {nearest(name, known)}"
            )
    return sorted(wanted or known)


def _linear_names(base: Any) -> set[str]:
    """Ends of the names; GPT-2's linear layers are Conv1D, which keeps weights transposed."""
    head = base.get_output_embeddings()
    linear, other = set[str](), set[str]()
    for name, module in base.named_modules():
        if not isinstance(module, nn.Linear | Conv1D):
            other.add(name.rpartition(".")[2])
        elif module is not head:
            linear.add(name)
    ends = {name.rpartition(".")[2] for name in linear}
    if any(map(_is_state_space, base.modules())):
        ends -= {"x_proj", "dt_proj", "out_proj"}
    # a layer called 0 in one place, and a block of layers in another
    longer = {".".join(name.split(".")[-2:]) for name in linear if name.split(".")[-1] in other}
    return (ends - other) | longer


def _is_state_space(module: nn.Module) -> bool:
    """A Mamba mixer: its kernels read the weights of some layers without the layer, so that an
    adapter there would count when it is merged only."""
    return hasattr(module, "conv1d") and hasattr(module, "D")
