"""An adapter added into its base for a while, so that decoding computes one product a layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear, LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from rlhfkit.models.language_model import LanguageModel


@contextmanager
def merged_adapter(model: LanguageModel) -> Iterator[bool]:
    """`model` computes with its adapter merged; afterwards every weight is what it was, bit by bit.
    Gives whether there was anything to merge.

    Layers in full precision only: in half precision the sum would be rounded to the base's few
    bits, and on quantised weights to fewer; such layers, and variants of LoRA, are left as they
    are. Memory: a second copy of the weights that have an adapter.
    """
    model.activate()
    kept: list[tuple[Linear, Tensor]] = []
    try:
        for layer in _mergeable(model):
            base = layer.get_base_layer()
            kept.append((layer, base.weight.data))
            with torch.no_grad():  # into a new tensor: PEFT adds and subtracts, which leaves a rest
                base.weight.data = base.weight.data + layer.get_delta_weight(model.adapter)
            layer.merged_adapters.append(model.adapter)
        yield bool(kept)
    finally:
        for layer, weight in kept:
            layer.get_base_layer().weight.data = weight
            layer.merged_adapters.clear()


def merges_exactly(model: Any) -> bool:
    """Whether PEFT can add a model's adapter into its base for good: not one on an embedding that
    is the head too, which would change both, nor a bias that has no place in the base."""
    base = model.get_base_model()
    words, head = (_weight(base.get_input_embeddings()), _weight(base.get_output_embeddings()))
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    on_both = words is head and any(_weight(layer) is words for layer in layers)
    return not on_both and not any(any(layer.lora_bias.values()) for layer in layers)


def _weight(layer: Any) -> Any:
    """A layer's own weight beneath an adapter; None for experts, which have several."""
    return getattr(
        layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer, "weight", None
    )


def _mergeable(model: LanguageModel) -> list[Linear]:
    """Layers whose adapter is plain LoRA on weights of their own that can hold the sum."""
    if not isinstance(model.model, PeftModel) or model.compute_dtype is not None:
        return []
    words = _weight(model.base.get_input_embeddings())
    return [
        layer
        for layer in model.model.modules()
        if isinstance(layer, Linear)
        and model.adapter in layer.lora_A
        and model.adapter not in layer.lora_variant
        and not layer.lora_bias[model.adapter]
        and not layer.merged
        and _weight(layer) is not words
        and _is_full_precision(layer.get_base_layer())
    ]


def _is_full_precision(layer: nn.Module) -> bool:
    return layer.weight.dtype in (torch.float32, torch.float64)
