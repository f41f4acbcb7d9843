"""Autocast for code that calls a model without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from rlhfkit.models.language_model import LanguageModel


@contextmanager
def autocast_forward(model: LanguageModel) -> Iterator[None]:
    """Every pass of an adapter's base, in whatever thread, under the model's autocast: the loops of
    transformers and TRL that sample from it enter none, and fail where a float32 adapter meets a
    bfloat16 state. A model without adapters is left as it is: it has no such place."""
    if model.compute_dtype is None or model.adapter is None:
        yield
        return
    base = model.base
    own, forward = vars(base).get("forward"), base.forward

    @wraps(forward)  # `generate` reads the signature
    def cast(*args: Any, **options: Any) -> Any:
        with model.autocast():
            return forward(*args, **options)

    base.forward = cast
    try:
        yield
    finally:
        if own is None:
            del base.forward
        else:
            base.forward = own
