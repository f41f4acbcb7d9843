"""A damaged checkpoint is recognised, a line says so, and the one before is used."""

import pytest
import torch

from rlhfkit.config.run import CheckpointConfig
from rlhfkit.storage.checkpoints import Checkpoints
from rlhfkit.storage.state_file import load_state, save_state
from tests.fuzz.broken_checkpoints import CASES


@pytest.fixture
def stage(tmp_path):
    """A stage that saved twice, and was killed."""
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(save_steps=1))
    for step in (1, 2):

        def write(folder, step=step):
            save_state(folder / "state.safetensors", {"step": step, "x": torch.arange(9.0)})
            (folder / "model").mkdir()
            (folder / "model" / "adapter.bin").write_bytes(bytes(range(64)))

        checkpoints.save_if_due(step, write)
    return tmp_path


def load(stage):
    found = Checkpoints(stage, CheckpointConfig()).load()
    return found and load_state(found / "state.safetensors")["step"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_one_before_is_used(stage, capsys, case):
    assert load(stage) == 2
    case.do(stage / "checkpoints" / "step_000002")
    assert load(stage) == 1
    said = " ".join(capsys.readouterr().out.split())
    if case.id != "it is a file":  # which is nobody's checkpoint
        assert "checkpoints/step_000002: " in said
        assert "the one before is used" in said
    assert load(stage) == 1  # and again, without a word about it
    assert capsys.readouterr().out == "goes on from step_000001, 0 s into the stage\n"


def test_where_none_is_whole_the_stage_starts_again(stage, capsys):
    for path in (stage / "checkpoints").iterdir():
        (path / "common.safetensors").unlink()
    assert load(stage) is None
    assert capsys.readouterr().out.count("missing or was altered") == 2


def test_foreign_files_are_let_be(stage):
    (stage / "checkpoints" / "step_notes.txt").write_text("mine")
    (stage / "checkpoints" / "damaged_step_000002").write_text("mine")
    (stage / "checkpoints" / "step_000002" / "digests.json").unlink()
    assert load(stage) == 1
    checkpoints = Checkpoints(stage, CheckpointConfig(save_steps=1, save_total_limit=1))
    checkpoints.save_if_due(3, lambda folder: save_state(folder / "state.safetensors", {"step": 3}))
    assert load(stage) == 3
