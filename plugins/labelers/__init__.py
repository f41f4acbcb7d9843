"""Labelers: who ranks the completions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.errors import UserError, nearest
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE
from rlhfkit.user_code import UserCodeConfig
from rlhfkit.validators import (
    require_above_zero,
    require_at_least,
    require_below,
    require_not_negative,
)
from rlhfkit_plugins.labelers.pool import POOL


@dataclass
class SimulatedConfig:
    """A pool of simulated labelers, each with documented preferences and an error rate."""

    labelers: list[str] | None = None
    """Which of the pool rank; null takes all of them."""

    error_rate: float | None = None
    """Share of typical pairs a labeler confuses, below 0.5; null keeps each labeler's own."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_below(name, self, 0.5, "error_rate")
        if self.labelers is None:
            return
        for labeler in self.labelers:
            if labeler not in POOL:
                raise UserError(
                    f"{name}.labelers: no simulated labeler '{labeler}'; {nearest(labeler, POOL)}"
                )
        if not self.labelers or len(set(self.labelers)) < len(self.labelers):
            raise UserError(f"{name}.labelers={self.labelers}: name at least one, and none twice")


@dataclass
class RewardModelLabelerConfig:
    """A reward model as gold labeler: ranks by its score."""

    path: str = "???"
    """A directory or hub name; it may have another tokenizer than the policy."""

    tie_margin: float = 0.0
    """Scores this close are ties."""

    batch_size: int = 16
    """Texts scored together."""

    trust_remote_code: bool = False
    """Run code that comes with a classifier. Never set by a recipe."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "tie_margin")
        require_above_zero(name, self, "batch_size")


@dataclass
class ImportedConfig:
    """Rankings that people made, from the data's `rankings` split; nothing is sampled."""

    min_completions: int = 2
    """Rankings of fewer completions are left out (InstructGPT, 3.5: K from 4 to 9)."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_at_least(name, self, 2, "min_completions")


@dataclass
class PeopleConfig:
    """Rankings that people made in the browser: rlhfkit label RUN."""

    run: str | None = None
    """Directory of the run that was labelled; null is this run."""

    with_simulated: bool = False
    """Let the simulated pool rank the run's completions, too; its rankings join the people's."""

    def file(self, run_dir: Path) -> Path:
        """Where the judgements are."""
        return Path(self.run or run_dir).expanduser() / JUDGEMENTS_FILE

    def fingerprint(self, run_dir: Path) -> str:
        """Changes with the judgements, so that what was trained on older ones is made again."""
        from rlhfkit.labelling.training import fingerprint

        return fingerprint(self.file(run_dir))


@dataclass
class FunctionConfig(UserCodeConfig):
    """A function of your own, which gives each prompt's completions a rank each, or a class with
    rank(): labeler=FILE.py:NAME."""

    gives: ClassVar[tuple[str, ...]] = ("completions", "prompts")
    methods: ClassVar[tuple[str, ...]] = ("rank",)


@hookimpl
def labelers() -> Sequence[Component]:
    package = "rlhfkit_plugins.labelers"
    return (
        Component("simulated", SimulatedConfig, f"{package}.simulated:SimulatedLabelers"),
        Component(
            "reward_model", RewardModelLabelerConfig, f"{package}.reward_model:RewardModelLabeler"
        ),
        Component("function", FunctionConfig, f"{package}.function:build"),
        Component("imported", ImportedConfig, f"{package}.imported:ImportedRankings"),
        Component("people", PeopleConfig, f"{package}.people:PeopleRankings"),
    )
