"""A stage with a trainer of transformers or TRL, killed and started again, leaves what it leaves
when it is never stopped, bit by bit."""

import json
import shutil

import pytest

from rlhfkit.checkpoints import Checkpoints
from rlhfkit.run_dir import read_jsonl
from rlhfkit.runner import Runner

TIMING = ("runtime", "_per_second", "step_time")


class Killed(BaseException):
    """At once, as if by a signal that nothing can handle."""


@pytest.fixture
def kill(monkeypatch):
    """`kill.after(3)`: at the third place of a process that it could save at."""
    reached, places = Checkpoints.reached, []

    def counted(self, step, write):
        reached(self, step, write)
        places.append(step)
        if len(places) == kill.after:
            raise Killed

    class Kill:
        after = None

        def __call__(self, after):
            self.after = after
            places.clear()

    kill = Kill()
    monkeypatch.setattr(Checkpoints, "reached", counted)
    return kill


@pytest.fixture
def leaves(plugins, make_raw, tiny_files, run_tiny, kill, tmp_path):
    """`leaves("sft", 2, *overrides)`: what a stage leaves whose process is killed at every second
    place that it can save at; never with None."""

    def run(stage, after, *overrides):
        folder = tmp_path / str(after)
        common = [f"run_dir={folder}", f"data.files.rankings={tiny_files['rankings']}", *overrides]
        before = {"reward_model": "[label]", "rl": "[sft,label]"}.get(stage)
        if before is not None:
            kill(None)
            run_tiny(*common, f"stages={before}", "checkpoint.save_minutes=null")
        kills = 0
        while True:
            kill(after)
            try:
                run_tiny(*common, f"stages=[{stage}]", "checkpoint.save_steps=1")
            except Killed:
                kills += 1
                continue
            assert after is None or kills > 1
            return contents(folder / stage)

    return run


def contents(folder):
    """Files by name: metrics without what depends on the time, others as they are."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "stage.json"
    }
    found["metrics.jsonl"] = repr(
        [
            {name: value for name, value in row.items() if not name.endswith(TIMING)}
            for row in read_jsonl(folder / "metrics.jsonl")
        ]
    )
    return found


SFT = (
    "stage.sft.per_device_train_batch_size=2", "stage.sft.gradient_accumulation_steps=2",
    "stage.sft.learning_rate=0.01", "stage.sft.logging_steps=2", "stage.sft.warmup_steps=2",
    "stage.sft.residual_dropout=0.2", "stage.sft.validation_fraction=0.2",
    "stage.sft.pretraining_fraction=0.2", "stage.sft.num_train_epochs=2",
)  # fmt: skip
CASES = {
    "sft": ("sft", *SFT),
    "sft, best epoch": ("sft", *SFT, "stage.sft.select_by=loss"),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_step(leaves, case):
    stage, *overrides = CASES[case]
    once, often = leaves(stage, None, *overrides), leaves(stage, 1, *overrides)
    assert once.keys() == often.keys()
    assert [name for name in once if once[name] != often[name]] == []
