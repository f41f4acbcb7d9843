"""Reward functions: what the policy is scored by."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.errors import UserError
from rlhfkit.user_code import UserCodeConfig
from rlhfkit.validators import require_above_zero, require_not_negative
from rlhfkit_plugins.server_options import ServerOptions

TRL_ARGUMENTS = ("completions", "prompts", "prompt_ids", "completion_ids", "finished")
"""What functions of TRL's signature are given beside columns of the data."""


@dataclass
class RewardModelRewardConfig:
    """The run's reward model, or any sequence classifier with one label."""

    path: str | None = None
    """A directory or hub name; null takes the one this run trained. Another tokenizer is fine:
    texts are tokenised again."""

    batch_size: int = 16
    """Completions scored together."""

    trust_remote_code: bool = False
    """Run code that comes with a classifier. Never set by a recipe."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Stages of this run that it cannot do without."""
        return ("reward_model",) if self.path is None else ()

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "batch_size")


@dataclass
class LengthConfig:
    """1 for a completion of `min` to `max` words, falling linearly to 0 over `slope` words; a slope
    of 0 is an edge."""

    min: int = 0
    """Fewest words that cost nothing."""

    max: int = 100
    """Most words that cost nothing."""

    slope: int = 20
    """Words too few or too many that cost 1."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "slope")
        if not 0 <= self.min <= self.max:
            raise UserError(f"{name}.min={self.min}, {name}.max={self.max}: needs 0 <= min <= max")


@dataclass
class FormatConfig:
    """1 when the completion matches a regular expression (searched anywhere), else 0."""

    pattern: str = r"[.!?]\s*$"
    """Regular expression that a completion is searched for."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise UserError(
                f"{name}.pattern={self.pattern}: no regular expression ({error})"
            ) from error


@dataclass
class SentimentConfig:
    """VADER's compound sentiment, from -1 to 1 (Hutto and Gilbert 2014); a lexicon, no model."""

    target: float = 1.0
    """The score is 1 less the distance from this: 1 rewards positive texts, 0 neutral ones, -1
    negative ones."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        if not -1 <= self.target <= 1:
            raise UserError(f"{name}.target={self.target}: must be from -1 to 1")


@dataclass
class GoldConfig:
    """What the run's labelers go by, before their mistakes: the simulated ones' mean points, or the
    gold reward model's score. With `weight=0` it is only measured (Gao et al. 2022)."""


@dataclass
class ServerRewardConfig(ServerOptions):
    """A server of your own: POST {"prompts": [...], "completions": [...]} is answered with
    {"scores": [...]}."""

    batch_size: int = 64
    """Completions in one question."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "batch_size")


@dataclass
class FunctionConfig(UserCodeConfig):
    """A function of your own, of the signature that TRL's reward functions have, or a class that is
    called so: reward=FILE.py:NAME."""

    gives: ClassVar[tuple[str, ...]] = TRL_ARGUMENTS
    takes_columns: ClassVar[bool] = True
    methods: ClassVar[tuple[str, ...]] = ("__call__",)


@hookimpl
def reward_functions() -> Sequence[Component]:
    package = "rlhfkit_plugins.rewards"
    return (
        Component("reward_model", RewardModelRewardConfig, f"{package}.reward_model:build"),
        Component("function", FunctionConfig, f"{package}.function:FunctionReward"),
        Component("length", LengthConfig, f"{package}.length:LengthReward"),
        Component("format", FormatConfig, f"{package}.format:FormatReward"),
        Component("gold", GoldConfig, f"{package}.gold:GoldReward"),
        Component("server", ServerRewardConfig, f"{package}.server:ServerReward"),
        Component("sentiment", SentimentConfig, f"{package}.sentiment:SentimentReward"),
    )
