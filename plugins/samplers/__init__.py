"""Samplers: how completions are drawn from a model."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component


@dataclass
class SamplingConfig:
    """What every sampler asks for."""

    response_length: int = 64
    """Longest completion in tokens, EOS included."""

    temperature: float = 1.0
    batch_size: int = 32
    """Prompts decoded together."""


@dataclass
class CachedConfig(SamplingConfig):
    """A decoding loop with a KV cache: finished sequences leave the batch, log-probabilities
    are taken while sampling."""

    share_prompts: bool = True
    """Whether equal prompts of a batch are read once; the completions are the same either way."""

    merge_adapters: bool = True
    """Whether an adapter is added into its base while sampling, and taken out without a trace: in
    full precision (float32) only, with a second copy of the weights that have an adapter."""


@dataclass
class GenerateConfig(SamplingConfig):
    """transformers' `generate`, plain sampling, log-probabilities by a second pass."""


@hookimpl
def samplers() -> Sequence[Component]:
    return (
        Component("cached", CachedConfig, "rlhfkit_plugins.samplers.cached:CachedSampler"),
        Component("generate", GenerateConfig, "rlhfkit_plugins.samplers.generate:GenerateSampler"),
    )
