"""Evaluators: numbers about the policies' completions of held-out prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.errors import UserError
from rlhfkit.user_code import UserCodeConfig
from rlhfkit.validators import require_above_zero
from rlhfkit_plugins.evaluators import options
from rlhfkit_plugins.evaluators.options import IntervalConfig
from rlhfkit_plugins.rewards import TRL_ARGUMENTS


@dataclass
class WinRateConfig(IntervalConfig):
    """How often a policy's completion is preferred to another's, by the run's labelers; a tie
    counts one half. Also at equal length (Dubois et al. 2024), where both answers end, and by the
    data's column `category`."""

    against: list[str] = field(default_factory=lambda: ["sft"])
    """The policies that every other one is compared with: `sft`, `base`, `rl` or an opponent."""

    all_pairs: bool = True
    """Compare every other two policies, too, for the win matrix; false spares a paid judge."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        if not self.against or len(set(self.against)) < len(self.against):
            raise UserError(f"{name}.against={self.against}: name at least one, and none twice")


@dataclass
class PeopleConfig:
    """What people said of the held-out answers in the browser, rlhfkit label RUN --of evaluate: how
    often they prefer a policy's to the SFT model's, overall ratings from 1 to 7, and the share of
    answers with each flag of InstructGPT's table 3."""


@dataclass
class PolicyStatisticsConfig(IntervalConfig):
    """KL to the SFT model, score by the run's rewards, length, and share that ends with EOS."""

    resamples: int = 2_000


@dataclass
class PretrainingLossConfig(IntervalConfig):
    """Loss on the texts that `pretraining_eval_fraction` holds out, in nats per token, of the
    run's own policies: the mean over texts of each one's mean over its tokens."""

    max_length: int = 128
    """Tokens of each text."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "max_length")


@dataclass
class BestOfNConfig(IntervalConfig):
    """What the run's rewards give for the best of n answers of the SFT model, by their weighted
    sum: policies `best-of-2`, `best-of-4` and so on, up to `stage.evaluate.num_completions`."""

    resamples: int = 2_000


@dataclass
class RubricsConfig(IntervalConfig):
    """Share of answers that keep the rubric that comes with their prompt (column `rubric`), and of
    closed questions (column `accepted`) that are answered right, greedily and as sampled."""

    resamples: int = 2_000


@dataclass
class FunctionConfig(UserCodeConfig, IntervalConfig):
    """A function of your own, of a reward function's signature, whose mean over the answers is the
    metric, or a class with evaluate(): evaluator=FILE.py:NAME."""

    gives: ClassVar[tuple[str, ...]] = TRL_ARGUMENTS
    takes_columns: ClassVar[bool] = True
    methods: ClassVar[tuple[str, ...]] = ("evaluate",)
    resamples: int = 2_000


@hookimpl
def evaluators() -> Sequence[Component]:
    package = "rlhfkit_plugins.evaluators"
    return (
        Component("win_rate", WinRateConfig, f"{package}.win_rate:WinRate"),
        Component(
            "policy_statistics", PolicyStatisticsConfig, f"{package}.statistics:PolicyStatistics"
        ),
        Component(
            "pretraining_loss", PretrainingLossConfig, f"{package}.pretraining_loss:PretrainingLoss"
        ),
        Component("function", FunctionConfig, f"{package}.function:build"),
        Component("people", PeopleConfig, f"{package}.people:People"),
        Component("ratings", options.RatingsConfig, f"{package}.ratings:RatingsEvaluator"),
        Component("rubrics", RubricsConfig, f"{package}.rubrics:Rubrics"),
        Component("best_of_n", BestOfNConfig, f"{package}.best_of_n:BestOfN"),
        Component(
            "instructions", options.InstructionsConfig, f"{package}.instructions:Instructions"
        ),
        Component("truthfulqa", options.TruthfulQAConfig, f"{package}.truthfulqa:TruthfulQA"),
        Component("toxicity", options.ToxicityConfig, f"{package}.toxicity:Toxicity"),
        Component(
            "reward_model",
            options.RewardModelConfig,
            f"{package}.reward_model:RewardModelEvaluator",
        ),
        Component("lm_eval", options.LmEvalConfig, f"{package}.lm_eval:LmEval"),
        Component("bias", options.BiasConfig, f"{package}.bias:Bias"),
    )
