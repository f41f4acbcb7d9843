"""A stage with a trainer of transformers or TRL, killed and started again, leaves what it leaves
when it is never stopped, bit by bit."""

import json
import signal
import time

import pytest

from rlhfkit.storage.checkpoints import Checkpoints
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.storage.stop_signals import Interrupted
from tests.resume.comparing import contents

PICKLED = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files of torch.save and pickle begin."""

PAUSE_S = 0.5
"""Before a signal: longer than a process takes that trains nothing more."""


class Killed(BaseException):
    """At once, as if by a signal that nothing can handle."""


@pytest.fixture
def kill(monkeypatch):
    """`kill(3)`: the process that starts now, at the third place where it may save; `kill(None)`:
    no process; `kill(3, signal.SIGTERM)`: by a signal that can be handled."""
    reached, places, wanted = Checkpoints.save_if_due, [], [None, None]

    def counted(self, step, write):
        places.append(step)
        now = len(places) == wanted[0]
        if now and wanted[1] is not None:
            time.sleep(PAUSE_S)
            signal.raise_signal(wanted[1])
        reached(self, step, write)
        if now:
            raise Killed

    def kill(after, number=None):
        wanted[:] = after, number
        places.clear()

    monkeypatch.setattr(Checkpoints, "save_if_due", counted)
    return kill


@pytest.fixture
def process(run_tiny, tiny_files, tmp_path):
    """`process(name, stage, *overrides)`: run a stage in a directory of this name, and give its."""

    def run(name, stage, *overrides):
        rankings = ["labeler=imported", f"data.files.rankings={tiny_files['rankings']}"]
        run_tiny(f"run_dir={tmp_path / name}", *rankings, *overrides, f"stages=[{stage}]")
        return tmp_path / name / stage.split(",")[-1]

    return run


@pytest.fixture
def leaves(process, kill, tmp_path):
    """`leaves("sft", 2, *overrides)`: what a stage leaves whose processes are killed at the second
    place each, as long as there is one; never with None."""

    def run(stage, after, *overrides):
        kill(None)
        if stage != "sft":
            process(str(after), "sft,label", *overrides)
        while True:
            kill(after)
            try:
                return contents(process(str(after), stage, *overrides, "checkpoint.save_steps=1"))
            except Killed:
                assert list((tmp_path / str(after) / stage / "checkpoints").glob("step_*"))
                assert not pickled(tmp_path / str(after))

    return run


def pickled(folder):
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and (path.suffix in (".bin", ".pt", ".pth", ".pkl") or path.read_bytes()[:2] in PICKLED)
    ]


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


SFT = (
    "stage.sft.per_device_train_batch_size=2", "stage.sft.gradient_accumulation_steps=2",
    "stage.sft.learning_rate=0.01", "stage.sft.logging_steps=2", "stage.sft.warmup_steps=2",
    "stage.sft.residual_dropout=0.2", "stage.sft.validation_fraction=0.2",
    "stage.sft.pretraining_fraction=0.2", "stage.sft.num_train_epochs=2",
)  # fmt: skip
"""Three steps an epoch."""

ONLINE = (
    "reward=[length]", "reward.length.min=4", "reward.length.slope=5", "kl=adaptive",
    "stage.rl.use_score_scaling=true", "stage.rl.micro_batch_size=2", "kl.horizon=10",
    "optimizer.learning_rate=0.01",
)  # fmt: skip
CASES = {
    "sft": (1, "sft", *SFT, "stage.sft.select_by=loss"),
    "sft, not by length": (2, "sft", *SFT, "stage.sft.group_by_length=false", "loader=full"),
    "sft, half an epoch": (1, "sft", *SFT, "stage.sft.num_train_epochs=1.5"),
    "reward_model": (
        2, "reward_model", "stage.reward_model.num_train_epochs=2", "loader.lora_dropout=0.2",
        "stage.reward_model.learning_rate=0.01", "stage.reward_model.logging_steps=3",
        "stage.reward_model.optim=adamw_8bit",
    ),
    "dpo": (
        3, "rl", "optimizer=dpo", "optimizer.num_train_epochs=2", "optimizer.learning_rate=0.01",
        "optimizer.per_device_train_batch_size=2", "optimizer.gradient_accumulation_steps=3",
    ),
    "trl_grpo": (1, "rl", "optimizer=trl_grpo", *ONLINE, "optimizer.num_iterations=2"),
    "trl_rloo": (1, "rl", "optimizer=trl_rloo", *ONLINE),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_killed_and_started_again_as_often_as_it_takes(leaves, case):
    after, stage, *overrides = CASES[case]
    assert_same(leaves(stage, None, *overrides), leaves(stage, after, *overrides))


def test_of_a_damaged_checkpoint_and_a_half_written_model_nothing_is_used(
    process, kill, capsys, tmp_path
):
    rate = ["stage.sft.lr_scheduler_type=constant", "stage.sft.learning_rate=0.05"]
    options = [*SFT, "stage.sft.select_by=loss", "stage.sft.warmup_steps=0", *rate]
    once = contents(process("once", "sft", *options))
    first, second = json.loads(once["epochs.json"])
    assert first["score"] > second["score"], "the case needs a first epoch that stays the best"
    kill(5)
    with pytest.raises(Killed):
        process("often", "sft", *options, "checkpoint.save_steps=1")
    kill(None)
    capsys.readouterr()
    for half in ("checkpoints/step_000005/trainer", "model/adapter_model"):
        (tmp_path / "often" / "sft" / f"{half}.safetensors").write_bytes(b"half")
    assert_same(once, contents(process("often", "sft", *options)))
    assert (
        "trainer.safetensors is missing or was altered; the one before" in capsys.readouterr().out
    )


def test_sigterm_saves_first_and_the_time_is_that_of_both_processes(process, kill, tmp_path):
    once = contents(process("once", "sft", *SFT))
    kill(4, signal.SIGTERM)
    with pytest.raises(Interrupted):
        process("often", "sft", *SFT, "checkpoint.save_minutes=null")
    (saved,) = (tmp_path / "often" / "sft" / "checkpoints").iterdir()
    assert saved.name == "step_000004"
    kill(None)
    folder = process("often", "sft", *SFT)
    assert_same(once, contents(folder))
    assert read_jsonl(folder / "metrics.jsonl")[-1]["train_runtime"] > PAUSE_S
