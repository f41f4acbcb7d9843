"""Evaluators: numbers about the policies' completions of held-out prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component


@dataclass
class WinRateConfig:
    """How often a policy's completion is preferred to the SFT model's, by the gold labelers; a
    tie counts one half."""

    confidence_level: float = 0.95
    resamples: int = 10_000
    """Bootstrap resamples over prompts."""


@dataclass
class PolicyStatisticsConfig:
    """KL to the SFT model, score by the run's rewards, length, and share that ends with EOS."""

    confidence_level: float = 0.95
    resamples: int = 2_000


@dataclass
class BestOfNConfig:
    """What the run's rewards give for the best of n answers of the SFT model, by their weighted
    sum: policies `best-of-2`, `best-of-4` and so on, up to `stage.evaluate.num_completions`."""

    confidence_level: float = 0.95
    resamples: int = 2_000


@hookimpl
def evaluators() -> Sequence[Component]:
    package = "rlhfkit_plugins.evaluators"
    return (
        Component("win_rate", WinRateConfig, f"{package}.win_rate:WinRate"),
        Component(
            "policy_statistics", PolicyStatisticsConfig, f"{package}.statistics:PolicyStatistics"
        ),
        Component("best_of_n", BestOfNConfig, f"{package}.best_of_n:BestOfN"),
    )
