"""The cheap part of the plugin: options and hooks. Imported whenever rlhfkit starts."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Command, Component
from rlhfkit.config.online import OnlineConfig
from rlhfkit.stage import Stage
from rlhfkit.validators import require_above_zero, require_below, require_not_negative


@dataclass
class BrevityConfig:
    """1 for an answer of up to `words` words, and `words / n` for one of n words."""

    words: int = 12
    """Most words of an answer that costs nothing."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "words")


@dataclass
class HalvingConfig:
    """A coefficient that starts at `start` and halves every `episodes`."""

    start: float = 0.1
    """Coefficient in the first batch."""

    episodes: int = 128
    """Episodes after which it is half of what it was."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "start")
        require_above_zero(name, self, "episodes")


@dataclass
class WordsConfig:
    """How many words the answers have, and the share of answers of up to `words`."""

    words: int = 12
    """Most words of a short answer."""

    resamples: int = 2000
    """Bootstrap resamples of the intervals."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "words", "resamples")


@dataclass
class WordCountsConfig:
    """Options of stage word_counts."""

    most: int | None = None
    """Most words an answer may have before the run stops; null any number."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "most")


@dataclass
class RunningBaselineConfig(OnlineConfig):
    """REINFORCE with a moving average of earlier rewards as the baseline; no value model."""

    baseline_decay: float = 0.9
    """Share of the average that a batch leaves as it is; 0 keeps the last batch's mean."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_below(name, self, 1, "baseline_decay")


@hookimpl
def reward_functions() -> Sequence[Component]:
    return [Component("brevity", BrevityConfig, "rlhfkit_brevity.reward:BrevityReward")]


@hookimpl
def kl_controllers() -> Sequence[Component]:
    return [Component("halving", HalvingConfig, "rlhfkit_brevity.kl:HalvingKL")]


@hookimpl
def policy_optimizers() -> Sequence[Component]:
    build = "rlhfkit_brevity.optimizer:RunningBaseline"
    return [Component("running_baseline", RunningBaselineConfig, build)]


@hookimpl
def evaluators() -> Sequence[Component]:
    return [Component("words", WordsConfig, "rlhfkit_brevity.evaluator:Words")]


@hookimpl
def stages() -> Sequence[Stage]:
    return [
        Stage(
            "word_counts",
            WordCountsConfig,
            "rlhfkit_brevity.stage:run",
            reads=("sample",),
            after="sample",
            describe="rlhfkit_brevity.stage:describe",
            main_process_only=True,
        )
    ]


@hookimpl
def commands() -> Sequence[Command]:
    return [
        Command("brevity", "score a file of answers, one a line", "rlhfkit_brevity.command:score")
    ]


@hookimpl
def config_packages() -> Sequence[str]:
    return ["rlhfkit_brevity.conf"]
