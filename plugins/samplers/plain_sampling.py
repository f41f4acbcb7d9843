"""What samplers share: which options make sense, and how transformers is told to sample plainly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import GenerationConfig

from rlhfkit.errors import UserError
from rlhfkit_plugins.samplers import BatchedConfig, SamplingConfig


def check_sampling(config: SamplingConfig) -> None:
    """Refuse what no sampler can do."""
    if config.temperature <= 0 or config.response_length < 1:
        raise UserError("sampler: temperature and response_length must be positive")
    if isinstance(config, BatchedConfig) and config.batch_size < 1:
        raise UserError("sampler: batch_size must be positive")


@contextmanager
def plain_sampling(
    model: Any, response_length: int, temperature: float, eos_token_id: int
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
        eos_token_id=eos_token_id,
        pad_token_id=eos_token_id,
    )
    try:
        yield model.generation_config
    finally:
        model.generation_config = kept
