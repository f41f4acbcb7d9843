"""The doctor during training, in the real loop."""

import pytest

from rlhfkit.config.doctor import DoctorConfig
from rlhfkit.diagnosis.watch import Watch
from rlhfkit.storage.run_dir import read_jsonl, write_jsonl
from rlhfkit.storage.stop_signals import Interrupted

DEAD = (
    "stages=[rl]",
    "reward=[length]",
    "loader=full",
    "stage.rl.total_episodes=20",
    "stage.rl.batch_size=4",
    "stage.rl.micro_batch_size=4",
    "stage.rl.missing_eos_penalty=0",
    "doctor.every=1",
)
"""Five iterations of a reward that is 1 for every answer."""


def rows_of(runner):
    rows = read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")
    return [{key: row[key] for key in row if not key.startswith("time/")} for row in rows]


def test_a_warning_is_told_once_and_changes_no_number(run_tiny, capsys, tmp_path):
    warned = rows_of(run_tiny(*DEAD))
    said = capsys.readouterr().out
    assert said.count("doctor: reward is dead: reward length never varies") == 1
    assert "try reward=[reward_model]" in said
    quiet = rows_of(run_tiny(*DEAD, "doctor.on_alarm=off", f"run_dir={tmp_path / 'off'}"))
    assert "doctor" not in capsys.readouterr().out
    assert quiet == warned


def test_a_pause_saves_and_the_same_command_goes_on(run_tiny, capsys, tmp_path):
    pause = (*DEAD, "doctor.on_alarm=pause")
    with pytest.raises(Interrupted):
        run_tiny(*pause)
    assert "doctor: pausing; `rlhfkit doctor " in capsys.readouterr().out
    rl = tmp_path / "run" / "rl"
    assert (rl / "checkpoints" / "step_000003").is_dir()
    assert len(read_jsonl(rl / "metrics.jsonl")) == 3
    resumed = rows_of(run_tiny(*pause))
    assert "doctor: reward is dead" not in capsys.readouterr().out
    assert [row["step"] for row in resumed] == [1, 2, 3, 4, 5]


def test_iterations_that_are_made_again_count_once(tmp_path, capsys):
    """A trainer of TRL's goes back to its checkpoint when the watch has read metrics.jsonl."""
    same = {"objective/scores": 1.0, "reward/length": 1.0, "reward/length_std": 0.0}
    write_jsonl(tmp_path / "metrics.jsonl", [{"step": step, **same} for step in (1, 2)])
    watch = Watch(DoctorConfig(every=1), tmp_path)
    watch.see(2, same)
    assert "doctor" not in capsys.readouterr().out  # two iterations are too few
    watch.see(3, same)
    assert "doctor: reward is dead" in capsys.readouterr().out
