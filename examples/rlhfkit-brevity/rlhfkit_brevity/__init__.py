"""The cheap part of the plugin: options and hooks. Imported whenever rlhfkit starts."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.checks import require_above_zero, require_not_negative
from rlhfkit.component import Component


@dataclass
class BrevityConfig:
    """1 for an answer of up to `words` words, and `words / n` for one of n words."""

    words: int = 12

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "words")


@dataclass
class LinearConfig:
    """A coefficient that falls linearly from `start` to `end` over `episodes`."""

    start: float = 0.1
    end: float = 0.02
    episodes: int = 256

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "start", "end")
        require_above_zero(name, self, "episodes")


@hookimpl
def reward_functions() -> Sequence[Component]:
    return [Component("brevity", BrevityConfig, "rlhfkit_brevity.reward:BrevityReward")]


@hookimpl
def kl_controllers() -> Sequence[Component]:
    return [Component("linear", LinearConfig, "rlhfkit_brevity.kl:LinearKL")]


@hookimpl
def config_packages() -> Sequence[str]:
    return ["rlhfkit_brevity.conf"]
