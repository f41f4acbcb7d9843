"""What the core relies on in a policy optimizer: whole runs of it, of a few episodes."""

import json
import math
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.protocols import PolicyOptimizer
from rlhfkit.storage.catalogue import METRICS_FILE, RANKINGS_FILE
from rlhfkit.storage.checkpoints import Checkpoints
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.storage.stop_signals import Interrupted, stop_at_next_step
from rlhfkit.testing.tiny_run import PROMPTS, tiny_context
from rlhfkit.types import Ranking


class PolicyOptimizerContract(ABC):
    """What the core relies on in a `PolicyOptimizer`."""

    overrides: tuple[str, ...] = ()
    """Options of the run, as on the command line."""

    @abstractmethod
    def make(self, context: Context, learning_rate: float) -> PolicyOptimizer:
        """An optimizer whose models all learn at this rate."""

    def context(self, folder: Path) -> Context:
        """The stage rl of a tiny run, which has no earlier stage but rankings."""
        context = tiny_context(folder, *self.overrides)
        rows = [
            Ranking(
                [{"role": "user", "content": text}], ["it is fine", "red red"], [1, 2], [True] * 2
            )
            for text in PROMPTS
        ]
        rankings = context.run_dir.stage_dir("label") / RANKINGS_FILE
        rankings.parent.mkdir(exist_ok=True)
        rankings.write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows), "utf-8")
        return context

    def train(self, context: Context, learning_rate: float = 0.02) -> dict[str, Tensor]:
        """Run the stage; gives the weights of the policy it saved."""
        torch.manual_seed(context.config.seed)
        self.make(context, learning_rate).train(context)
        policy = context.build("loader").language_model(str(context.stage_dir / "model"))
        return weights(policy.model)

    def test_a_run_trains_the_policy_and_reports(self, tmp_path: Path) -> None:
        context = self.context(tmp_path)
        trained = self.train(context)
        start = weights(context.build("loader").language_model(None).model)
        assert any((trained[name] - start[name]).abs().max() > 1e-4 for name in start)
        assert all(value.isfinite().all() for value in trained.values())
        rows = read_jsonl(context.stage_dir / METRICS_FILE)
        assert rows
        assert all(math.isfinite(value) for row in rows for value in row.values())

    def test_without_a_learning_rate_nothing_changes(self, tmp_path: Path) -> None:
        context = self.context(tmp_path)
        trained = self.train(context, learning_rate=0.0)
        start = weights(context.build("loader").language_model(None).model)
        assert all(torch.equal(trained[name], start[name]) for name in start)

    def test_a_stopped_run_ends_as_one_that_never_stopped(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It must offer to be saved after each step: `context.checkpoints.save_if_due`."""
        whole = self.train(self.context(tmp_path / "whole"))
        save_if_due = Checkpoints.save_if_due

        def stopping(checkpoints: Checkpoints, step: int, write: Callable[[Path], object]) -> None:
            signal.raise_signal(signal.SIGTERM)
            save_if_due(checkpoints, step, write)

        context = self.context(tmp_path / "stopped")
        monkeypatch.setattr(Checkpoints, "save_if_due", stopping)
        with pytest.raises(Interrupted), stop_at_next_step():
            self.train(context)
        monkeypatch.undo()
        resumed = self.train(self.context(tmp_path / "stopped"))
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def weights(model: Any) -> dict[str, Tensor]:
    """Copies of a model's weights by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
