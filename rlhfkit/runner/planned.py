"""What a run is about to do, as the checks before it see it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from rlhfkit.context import Context
from rlhfkit.stage import Stage
from rlhfkit.storage.run_dir import RunDir, StageRecord
from rlhfkit.types import Split

if TYPE_CHECKING:
    from rlhfkit.data.survey import Found
    from rlhfkit.data.text_format import TextFormat


@dataclass
class Planned:
    """The stages that will run, and what is there before them. Checks leave what they found for
    those behind them."""

    context: Context
    """One that counts what reading the data finds."""

    waiting: Sequence[Stage]
    """In their order."""

    complete: frozenset[str]
    """Stages whose results are there, or are taken over from another run."""

    notes: list[str] = field(default_factory=list)
    """Lines that the user should see, and that stop nothing."""

    text: "TextFormat | None" = None
    """How the run's model reads texts, once its tokenizer was loaded."""

    found: list["Found"] = field(default_factory=list)
    """What the splits hold, once they were read."""

    @property
    def names(self) -> list[str]:
        """Of the stages that will run."""
        return [stage.name for stage in self.waiting]

    def has(self, name: str, reader: str) -> bool:
        """Whether the result of a stage is there when another one starts."""
        return name in self.complete or name in self.names[: self.names.index(reader)]

    def gives(self, split: Split) -> str | None:
        """What gives a split, as in `data.files.prompts`; None when nothing does."""
        found: str | None = import_module("rlhfkit.data.sources").option_of(self.context, split)
        return found

    @cached_property
    def imports_rankings(self) -> bool:
        """Whether the labeler takes the data's rankings over and is asked for none."""
        return hasattr(self.context.factory("labeler", self.context.config.labeler), "rankings")

    @cached_property
    def online(self) -> bool:
        """Whether the optimizer samples answers to prompts and scores them."""
        factory = self.context.factory("optimizer", self.context.config.optimizer)
        return not getattr(factory, "offline", False)


class Remaining(RunDir):
    """A run directory without the results that the run will make again."""

    def __init__(self, run_dir: RunDir, again: Sequence[str]) -> None:
        super().__init__(run_dir.root)
        self._again = again

    def record(self, stage: str) -> StageRecord | None:
        """The record of a complete stage that stays."""
        return None if stage in self._again else super().record(stage)
