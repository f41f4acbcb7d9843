"""Hydra's record of a command: kept where a stage was started, else taken back."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rlhfkit.storage.new_directories import missing, remove_empty


class Invocation(Callback):
    """Hydra's callback before it makes the directory of a command's record."""

    record: ClassVar[Path | None] = None
    made: ClassVar[list[Path]] = []
    """The record's directory and those above it that the command makes."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Called once for a run, before Hydra itself looks at its own options."""
        HydraConfig.instance().set_config(config)  # the directory's name refers to the recipe
        Invocation._note(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called once for a sweep."""
        Invocation._note(config.hydra.sweep.dir)

    @staticmethod
    def _note(directory: str) -> None:
        Invocation.record = Path(directory)
        Invocation.made = missing(Path(directory))

    @staticmethod
    def take_back() -> None:
        """Remove the record, and what was made for it and is empty."""
        if Invocation.record in Invocation.made:
            shutil.rmtree(Invocation.record, ignore_errors=True)
        remove_empty(Invocation.made)
