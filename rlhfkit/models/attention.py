"""How attention is computed, where `model.attn_implementation` says: that transformers has such an
implementation, that it is installed, and that it can compute the run's model here."""

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.hub_kernels import is_kernel

from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.models.from_config import causal_lm_from_config
from rlhfkit.models.trust import trusts

_ON_FAKE_TENSORS = ("eager", "sdpa")
"""Implementations of PyTorch's own operations, which a plan can count; flash attention's take no
more memory than sdpa's."""

_UNFIT = {"paged|eager", "flex_attention"}
"""The one is for continuous batching alone, which takes it by itself; the other is compiled anew
for every length of a text, of which there are many here."""


def is_flash(name: str | None) -> bool:
    """Whether an implementation is flash attention, as transformers tells it: these take padding as
    a row a sequence, not as masks of pairs, and compute in half precision only."""
    return name is not None and "flash" in name


def require_known(context: Context) -> None:
    """`UserError` for a name that is neither one of transformers' nor a kernel's."""
    name = context.config.model.attn_implementation
    known = {"eager", *AttentionInterface().valid_keys()} - _UNFIT
    if name is None or name in known or is_kernel(name):
        return
    raise UserError(
        f"model.attn_implementation={name}: no attention that works here; "
        f"{nearest(name, known)}; a kernel of the hub is named as kernels-community/flash-attn2"
    )


def check_attention(context: Context, model_config: Any) -> None:
    """`UserError` for an implementation that cannot compute the run's model on this machine:
    transformers' own check, on a model without weights, which fetches a kernel that is named."""
    name, precision = context.config.model.attn_implementation, context.precision
    require_known(context)
    if is_flash(name) and (precision.autocast or precision.weights) == torch.float32:
        raise UserError(
            f"model.attn_implementation={name}: computes in half precision only, and this run in "
            f"float32 on {context.device_kind.upper()}; take sdpa"
        )
    trusted = trusts(context, context.config.model.path)
    meta = torch.device("meta")
    try:
        causal_lm_from_config(model_config, precision.weights, meta, None, trusted, name)
    except (ImportError, ValueError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise UserError(
            f"model.attn_implementation={name}: {reason}; sdpa and eager need nothing installed"
        ) from error


def planned_attention(context: Context) -> str | None:
    """What a plan counts: the implementation itself, or transformers' choice in its place."""
    name = context.config.model.attn_implementation
    return name if name in _ON_FAKE_TENSORS else None
