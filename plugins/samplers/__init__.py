"""Samplers: how completions are drawn from a model."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component


@dataclass
class CachedConfig:
    """A decoding loop with a KV cache: finished sequences leave the batch, log-probabilities
    are taken while sampling."""

    response_length: int = 64
    """Longest completion in tokens, EOS included."""

    temperature: float = 1.0
    batch_size: int = 32
    """Prompts decoded together."""


@dataclass
class GenerateConfig(CachedConfig):
    """transformers' `generate`, plain sampling, log-probabilities by a second pass."""


@hookimpl
def samplers() -> Sequence[Component]:
    return (
        Component("cached", CachedConfig, "rlhfkit_plugins.samplers.cached:CachedSampler"),
        Component("generate", GenerateConfig, "rlhfkit_plugins.samplers.generate:GenerateSampler"),
    )
