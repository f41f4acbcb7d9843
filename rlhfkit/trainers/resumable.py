"""Trainers of transformers and TRL go on from this project's checkpoints.

Beside transformers' own `TrainerState`, which is JSON, a checkpoint has one state file in the place
of those that transformers pickles. How a trainer comes back to its place in the data is
transformers': the order of the epoch is drawn again and the batches that were used are skipped.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME

from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import gather_state, shard_like
from rlhfkit.storage import stop_signals
from rlhfkit.storage.checkpoints import Checkpoints
from rlhfkit.storage.random_state import random_state, set_random_state
from rlhfkit.storage.state_file import State, load_state, save_state
from rlhfkit.trainers.optim import load_optimizer

_STATE_FILE = "trainer.safetensors"
_COUNTS = (
    "_total_loss_scalar", "_globalstep_last_logged", "current_flos",
    "_total_train_tokens",  # TRL's
)  # fmt: skip


class Part(Protocol):
    """What a checkpoint of a trainer holds beside the trainer."""

    def save(self, folder: Path) -> None:
        """Write into a checkpoint what `load` goes on from; one process does."""

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint."""


class Resumable(Trainer):  # type: ignore[misc]
    """A trainer that saves between optimizer steps, and goes on as if it had never stopped."""

    steps_per_batch: int = 1
    """Optimizer steps on the same samples, between which nothing is saved."""

    _checkpoints: Checkpoints | None = None
    _part: Part | None = None
    _saved_loop: State = None
    _seconds_before: float = 0.0

    def resume(self, checkpoints: Checkpoints, part: Part | None = None) -> None:
        """Train from the newest checkpoint on, from the start where there is none."""
        self._checkpoints, self._part = checkpoints, part
        found = checkpoints.load()
        if found is not None and part is not None:
            part.load(found)
        self._random = random_state()
        self.train(resume_from_checkpoint=None if found is None else str(found))

    def _run_epoch(self, **place: Any) -> None:
        self._restore_loop()
        self._order = random_state()
        self._start_time = place["start_time"] - self._seconds_before
        super()._run_epoch(**place)
        if self.state.epoch.is_integer():  # transformers cannot go on from the end of half an epoch
            self._order = random_state()
            self._reached()

    def _maybe_log_save_evaluate(self, *args: Any, **options: Any) -> None:
        super()._maybe_log_save_evaluate(*args, **options)
        if not (self.state.epoch.is_integer() or self.control.should_training_stop):
            self._reached()  # an epoch's last step only after the evaluation

    def _finalize_training(self, trial: Any, num_train_samples: float, start_time: float) -> Any:
        self._restore_loop()
        start_time -= self._seconds_before
        return super()._finalize_training(trial, num_train_samples, start_time)

    def _reached(self) -> None:
        if self.is_deepspeed_enabled:  # checkpoints do not hold its states: the stage starts again
            if stop_signals.requested():
                raise KeyboardInterrupt
            return
        step = self.state.global_step
        if self._checkpoints is not None and step % self.steps_per_batch == 0:
            self._checkpoints.save_if_due(step, self._save_state)

    def _save_state(self, folder: Path) -> None:
        state = {
            "parameters": dict(self._trained()),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "loss_scale": scaler.state_dict() if (scaler := self.accelerator.scaler) else None,
            "loops": processes.gather([self._loop_state()]),
        }
        save_state(folder / _STATE_FILE, gather_state(state))
        if processes.is_main():
            self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
            if self._part is not None:
                self._part.save(folder)

    def _load_from_checkpoint(self, *_: Any) -> None:
        """Nothing: the parameters come with the optimizer's state."""

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        state = load_state(Path(checkpoint) / _STATE_FILE)
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(shard_like(parameter, state["parameters"][name]))
        load_optimizer(self.optimizer, state["optimizer"])
        self.lr_scheduler.load_state_dict(state["lr_scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["loss_scale"])
        self._saved_loop = state["loops"][processes.rank()]

    def _load_rng_state(self, checkpoint: str) -> None:
        """Called when the first batch to go on with is drawn, or at the start of an epoch."""
        set_random_state(self._random)

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return (item for item in self.model.named_parameters() if item[1].requires_grad)

    def _loop_state(self) -> State:
        """What this process counts outside of `TrainerState`, and what the epoch's order is drawn
        from."""
        return {
            "seconds": time.time() - self._start_time,
            "order": self._order,
            "loss": self._tr_loss.item(),
            "counts": {name: getattr(self, name) for name in _COUNTS if hasattr(self, name)},
            "metrics": getattr(self, "_metrics", {}),
        }

    def _restore_loop(self) -> None:
        """Once, after transformers has set all of it to 0."""
        saved, self._saved_loop = self._saved_loop, None
        if saved is None:
            return
        set_random_state(saved["order"])
        self._seconds_before = saved["seconds"]
        self._initial_global_step = 0  # so that the mean loss is over all steps
        self._tr_loss.fill_(saved["loss"])
        for name, value in saved["counts"].items():
            setattr(self, name, value)
        for mode, values in saved["metrics"].items():
            self._metrics[mode].update(values)
