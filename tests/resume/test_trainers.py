"""A stage with a trainer of transformers or TRL, killed and started again, leaves what it leaves
when it is never stopped, bit by bit."""

import pytest

from rlhfkit.checkpoints import Checkpoints
from rlhfkit.run_dir import read_jsonl

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
def leaves(run_tiny, tiny_files, kill, tmp_path):
    """`leaves("sft", 2, *overrides)`: what a stage leaves whose processes are killed at the second
    place each, as long as there is one; never with None."""

    def run(stage, after, *overrides):
        folder = tmp_path / f"{stage}_{after}"
        rankings = ["labeler=imported", f"data.files.rankings={tiny_files['rankings']}"]
        common = [f"run_dir={folder}", *rankings, *overrides]
        if stage != "sft":
            kill(None)
            run_tiny(*common, "stages=[sft,label]")
        killed = True
        while killed:
            kill(after)
            try:
                run_tiny(*common, f"stages=[{stage}]", "checkpoint.save_steps=1")
                killed = False
            except Killed:
                assert list((folder / stage / "checkpoints").glob("step_*"))
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
ONLINE = ("reward=[length]", "kl=adaptive", "kl.horizon=10", "stage.rl.micro_batch_size=2")
CASES = {
    "sft": (1, "sft", *SFT, "stage.sft.select_by=loss"),
    "sft, not by length": (2, "sft", *SFT, "stage.sft.group_by_length=false", "loader=full"),
    "sft, half an epoch": (2, "sft", *SFT[:-1], "stage.sft.num_train_epochs=1.5"),
    "reward_model": (
        2, "reward_model", "stage.reward_model.num_train_epochs=2",
        "stage.reward_model.learning_rate=0.01", "stage.reward_model.logging_steps=3",
        "loader.lora_dropout=0.2",
    ),
    "dpo": (
        2, "rl", "optimizer=dpo", "optimizer.num_train_epochs=2", "optimizer.learning_rate=0.01",
        "optimizer.per_device_train_batch_size=2", "optimizer.gradient_accumulation_steps=3",
    ),
    "trl_grpo": (1, "rl", "optimizer=trl_grpo", *ONLINE, "optimizer.num_iterations=2"),
    "trl_rloo": (1, "rl", "optimizer=trl_rloo", *ONLINE),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_killed_and_started_again_as_often_as_it_takes(leaves, case):
    after, stage, *overrides = CASES[case]
    once, often = leaves(stage, None, *overrides), leaves(stage, after, *overrides)
    assert once.keys() == often.keys()
    assert [name for name in once if once[name] != often[name]] == []
