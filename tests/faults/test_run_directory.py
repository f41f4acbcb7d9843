"""Others at the same files: a second process in the run directory, data that changes underfoot."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from rlhfkit import hookimpl
from rlhfkit.errors import UserError
from rlhfkit.runner.run_lock import run_lock
from rlhfkit.runner.runner import Runner
from tests.commands.test_main import rlhfkit

HOLDING = """
import sys, time
from pathlib import Path
from rlhfkit.runner.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process at work in tmp_path/run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "holding\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused(holder, tmp_path):
    options = ("run_name=x", f"run_dir={tmp_path / 'run'}", "stages=[report]")
    done = rlhfkit(*options, cwd=tmp_path, check=2)
    assert done.stderr.strip() == (
        f"rlhfkit: {tmp_path / 'run'}: process {holder.pid} on {socket.gethostname()} is at work "
        "in this run directory; wait for it, end it, or choose another run_name"
    )
    assert not (tmp_path / "run" / "report").exists()
    rlhfkit("stages", *options, cwd=tmp_path, check=0)  # looking is free


def test_a_killed_process_leaves_no_lock(holder, tmp_path):
    with pytest.raises(UserError, match=f"process {holder.pid} on"), run_lock(tmp_path / "run"):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with run_lock(tmp_path / "run"):
        pass
    with run_lock(tmp_path / "run"):
        pass


def test_processes_launched_together_share_the_lock(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    with run_lock(tmp_path / "run"):
        pass
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="at work"), run_lock(tmp_path / "run"):
        pass


def test_a_second_sweep_point_has_a_lock_of_its_own(holder, tmp_path):
    with run_lock(tmp_path / "other"):
        pass


class Meddler:
    """Changes a file as soon as a stage has read it."""

    def __init__(self, path, text):
        self.path, self.text = path, text

    @hookimpl
    def metrics_logged(self, stage, step, metrics):
        self.path.write_text(self.text)


def test_data_that_changes_while_a_stage_runs(plugins, make_raw, tiny_overrides, tmp_path, capsys):
    path = tmp_path / "prompts.jsonl"
    kept = '{"prompt": "what is red"}\n' * 4
    path.write_text(kept)
    options = ("stages=[sft,sample]", f"data.files.prompts={path}", "stage.sample.models=[base]")
    runner = Runner(make_raw(*tiny_overrides, *options), plugins)
    meddler = Meddler(path, kept + '{"prompt": "what is blue"}\n')
    Runner(make_raw(*tiny_overrides, *options, "stages=[sft]"), plugins).run()
    plugins.manager.register(meddler)
    try:
        with pytest.raises(UserError, match=r"data files\.prompts changed while it ran") as error:
            runner.run()
    finally:
        plugins.manager.unregister(meddler)
    assert "force_from=sample" in str(error.value)
    assert "\n" not in str(error.value)
    assert runner.run_dir.record("sample") is None
    assert runner.run_dir.record("sft") is not None
