"""How transformers is told to sample plainly."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import GenerationConfig

from rlhfkit.errors import Stopped


@contextmanager
def plain_sampling(
    model: Any,
    response_length: int,
    temperature: float,
    end_ids: Sequence[int],
    use_cache: bool = True,
) -> Iterator[GenerationConfig]:
    """How a transformers model is to sample, and for as long its only generation settings: where
    others say nothing, its own (Qwen's repetition penalty) would fill in."""
    kept = model.generation_config
    model.generation_config = GenerationConfig(
        max_new_tokens=response_length,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        eos_token_id=[*end_ids],
        pad_token_id=end_ids[0],
        use_cache=use_cache,
    )
    try:
        yield model.generation_config
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        raise Stopped(
            "sampling: the model's probabilities are NaN or infinite; try model.dtype=float32 or "
            "another model"
        ) from error
    finally:
        model.generation_config = kept
