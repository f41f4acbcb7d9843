"""When a stage saves a checkpoint, and how it takes one up again.

A stage calls `load` when it is set up, and `save_if_due` wherever it could go on from. Beside the
stage's own files a checkpoint has what all stages share: global random states, the place in
metrics.jsonl, the time spent.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from rlhfkit.config.run import CheckpointConfig
from rlhfkit.console import console
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.storage import stop_signals
from rlhfkit.storage.catalogue import METRICS_FILE
from rlhfkit.storage.checkpoint_files import newest_checkpoint, write_checkpoint
from rlhfkit.storage.random_state import random_state, set_random_state
from rlhfkit.storage.run_dir import CHECKPOINTS
from rlhfkit.storage.state_file import State, load_state, save_state

_COMMON = "common.safetensors"


class Checkpoints:
    """Those of one stage, which starts, or goes on, when this object is made."""

    def __init__(self, stage_dir: Path, config: CheckpointConfig) -> None:
        self._folder, self._config = stage_dir / CHECKPOINTS, config
        self._metrics = stage_dir / METRICS_FILE
        self._started = self._saved = time.monotonic()
        self._seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Spent on the stage so far, in this process and in those before."""
        return self._seconds_before + time.monotonic() - self._started

    def load(self, of_any_number: bool = False) -> Path | None:
        """The newest checkpoint; random states and metrics.jsonl are then as they were in it.

        Raises `UserError` for one of another number of processes, where that matters: each draws
        random numbers of its own.
        """
        mine = newest_checkpoint(self._folder) if processes.is_main() else None
        found = processes.gather([mine])[0]
        if found is None:
            return None
        common = load_state(found / _COMMON)
        if len(common["random"]) == processes.world_size():
            set_random_state(common["random"][processes.rank()])
        elif not of_any_number:
            raise UserError(
                f"{found}: saved by {len(common['random'])} processes, and now there are "
                f"{processes.world_size()}: resume with as many, or add "
                f"force_from={self._folder.parent.name} to start the stage again"
            )
        if processes.is_main():
            self._cut_metrics(common["metrics_bytes"])
            said = f"goes on from {found.name}, {common['seconds']:.0f} s into the stage"
            console.print(said, style="dim", highlight=False)
        self._seconds_before = common["seconds"]
        return found

    def save_if_due(self, step: int, write: Callable[[Path], object]) -> None:
        """The stage has done this many steps. Saves what `write` writes into a directory when it
        is time, or when the run is to stop, which `Interrupted` then does."""
        self._save_and_stop(f"step_{step:06d}", write, self._is_time() or self._is_turn(step))

    def save_mid_iteration(self, step: int, write: Callable[[Path], object]) -> None:
        """The same in the middle of a step, that many before it being done."""
        self._save_and_stop(f"step_{step:06d}_within", write, self._is_time())

    def _save_and_stop(self, name: str, write: Callable[[Path], object], due: bool) -> None:
        asked = stop_signals.requested()
        if asked or any(processes.gather([due])):
            self._save(name, write)
        if asked:
            raise stop_signals.Interrupted(asked)

    def _is_time(self) -> bool:
        minutes = self._config.save_minutes
        return minutes is not None and time.monotonic() - self._saved >= 60 * minutes

    def _is_turn(self, step: int) -> bool:
        steps = self._config.save_steps
        return steps is not None and step % steps == 0

    def _save(self, name: str, write: Callable[[Path], object]) -> None:
        def write_all(folder: Path) -> None:
            write(folder)
            save_state(folder / _COMMON, self._common())

        if processes.is_main():
            write_checkpoint(self._folder, name, write_all, self._config.save_total_limit)
        else:
            write_all(self._folder)  # nothing is written, but gathered
        processes.barrier()
        self._saved = time.monotonic()

    def _common(self) -> State:
        return {
            "random": processes.gather([random_state()]),
            "metrics_bytes": self._sync_metrics(),
            "seconds": self.seconds,
        }

    def _sync_metrics(self) -> int:
        """Onto the disk before the checkpoint that counts on them; gives their length."""
        if not self._metrics.exists():
            return 0
        with self._metrics.open("ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def _cut_metrics(self, length: int) -> None:
        """Without what was logged after the checkpoint and is about to be logged again."""
        if self._metrics.exists() and self._metrics.stat().st_size > length:
            os.truncate(self._metrics, length)
