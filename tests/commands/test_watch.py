"""A run is watched from its files: how far it is, how long it takes, what it writes."""

import json
import os
import shutil
import socket
import subprocess

import pytest
from rich.console import Console

from rlhfkit.commands import watch
from rlhfkit.commands.progress_of_run import progress_of
from rlhfkit.commands.watch import Pace, sparkline, view, watch_run
from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import RunDir

SETTINGS = {"stage.rl.total_episodes": 64, "stage.rl.batch_size": 8}


@pytest.fixture
def run(tmp_path):
    """At work in stage rl: three iterations of eight, the last line of the log half written."""
    folder = tmp_path / "runs" / "mine" / "rl"
    folder.mkdir(parents=True)
    record = {"stage": "rl", "settings": SETTINGS, "inputs": {}}
    (folder / "started.json").write_text(json.dumps(record))
    rows = [
        {"step": step, "episode": 8 * step, "objective/scores": step / 2, "objective/kl": 0.1,
         "response/length": 10, "time/rollout": 4.0}
        for step in (1, 2, 3)
    ]  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines + '{"step": 4, "obj')
    os.utime(folder / "started.json", (1000, 1000))
    os.utime(folder / "metrics.jsonl", (1030, 1030))
    sampled = tmp_path / "runs" / "mine" / "sample"
    sampled.mkdir()
    asked = [{"role": "user", "content": "what is red"}]
    row = {"prompt": asked, "completions": ["a colour", "red"], "sources": ["sft", "sft"]}
    (sampled / "completions.jsonl").write_text(json.dumps(row) + "\n")
    return RunDir(tmp_path / "runs" / "mine")


def shown(run, plugins, now=1035.0):
    console = Console(width=80, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(view(run, plugins, Pace(), now))
    return console.export_text()


def test_what_is_shown_of_a_run_at_work(run, plugins):
    said = shown(run, plugins)
    assert "▶ rl" in said
    assert "rl: 24 of 64 episodes, 20 tokens/s sampled, about 50 s left" in said
    assert "score             ▁▅█  0.5 → 1.5" in said
    assert "what is red sft: a colour" in said
    assert "doctor: nothing found" in said
    later = " ".join(shown(run, plugins, now=1155.0).split())
    assert "last number 2 min 05 s ago" in later
    assert max(map(len, said.splitlines())) <= 80


def test_nothing_to_go_by_is_not_called_nothing_found(run, plugins):
    shutil.rmtree(run.stage_dir("sample"))
    (run.stage_dir("rl") / "metrics.jsonl").unlink()
    assert "doctor: nothing to go by yet" in shown(run, plugins)


def test_a_run_whose_process_is_gone_has_stopped(run, plugins):
    gone = subprocess.Popen(["true"])
    gone.wait()
    holder, here = run.root / ".lock.holder", socket.gethostname()
    for process, host, stopped in (
        (gone.pid, here, True),
        (os.getpid(), here, False),
        (gone.pid, f"{here}x", False),
    ):
        holder.write_text(f"process {process} on {host}")
        said = " ".join(shown(run, plugins).split())
        assert ("■ rl" in said) is stopped
        assert ("▶ rl" in said) is not stopped
        assert ("s left" in said) is not stopped
        line = f"stopped; rlhfkit resume {run.root} goes on".replace(" ", "")
        assert (line in said.replace(" ", "")) is stopped  # a long path is broken anywhere


def test_the_time_left_is_of_what_was_seen(run):
    progress = progress_of(run, ["sft", "rl"])
    pace = Pace()
    assert pace.seconds_left(progress, 2000.0) == pytest.approx(30 / 24 * 40)
    faster = progress.__class__(**{**vars(progress), "share": 0.5})
    assert pace.seconds_left(faster, 2004.0) == pytest.approx(0.5 * 4 / 0.125)
    assert pace.seconds_left(faster, 2006.0) == pytest.approx(0.5 * 4 / 0.125 - 2)
    other = progress.__class__(**{**vars(progress), "stage": "evaluate", "share": 0.0})
    assert pace.seconds_left(other, 2010.0) is None


def test_other_stages_and_the_end(run, plugins):
    folder = run.root / "rl"
    (folder / "stage.json").write_text((folder / "started.json").read_text())
    (folder / "started.json").unlink()
    assert "rl: complete\n" in shown(run, plugins).replace(" \n", "\n")
    sft = run.root / "sft"
    sft.mkdir()
    settings = {"stage.sft.num_train_epochs": 4}
    (sft / "started.json").write_text(
        json.dumps({"stage": "sft", "settings": settings, "inputs": {}})
    )
    (sft / "metrics.jsonl").write_text('{"step": 5, "epoch": 1.0, "loss": 3.0}\n')
    assert progress_of(run, ["sft", "rl"]).text == "1 of 4 epochs"


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([0.0, 1.0], 36, "▁█"),
        ([1.0, 1.0], 36, "▁▁"),
        ([0.0, 0.0, 7.0, 7.0], 2, "▁█"),
        ([0.0, float("nan"), 7.0], 36, "▁×█"),
    ],
)
def test_sparklines(values, width, drawn):
    assert sparkline(values, width) == drawn


def test_once_where_nobody_looks_on(run, plugins, capsys):
    assert not watch.console.is_terminal
    watch_run([str(run.root)], plugins)
    assert "24 of 64 episodes" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"watch: say one run"):
        watch_run([], plugins)
    with pytest.raises(UserError, match=r"watch other: no run there"):
        watch_run(["other"], plugins)
