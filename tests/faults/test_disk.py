"""A full disk, really: files that are `/dev/full`, and the kernel's limit of a file's size."""

import resource
import subprocess
import sys

import pytest

from rlhfkit import hookimpl
from rlhfkit.commands.error_lines import one_line
from rlhfkit.runner.runner import Runner, StageFailed

STAGES = "stages=[sft,sample]"


class FullDisk:
    """A stage's file that takes no byte."""

    def __init__(self, stage, name):
        self.stage, self.name = stage, name

    @hookimpl
    def stage_started(self, stage, context):
        if stage == self.stage:
            (context.stage_dir / self.name).symlink_to("/dev/full")


@pytest.mark.parametrize("name", ["metrics.jsonl", "completions.jsonl.tmp"])
def test_a_full_disk(plugins, make_raw, tiny_overrides, name):
    disk = FullDisk("sample", name)
    plugins.manager.register(disk)
    runner = Runner(make_raw(*tiny_overrides, STAGES), plugins)
    try:
        with pytest.raises(StageFailed) as failed:
            runner.run()
    finally:
        plugins.manager.unregister(disk)
    said = one_line(failed.value)
    assert said.startswith("no disk space left (")
    assert said.endswith("; finished stages and checkpoints are kept")
    assert runner.run_dir.record("sft") is not None
    assert runner.run_dir.record("sample") is None
    Runner(make_raw(*tiny_overrides, STAGES), plugins).run()
    assert runner.run_dir.record("sample") is not None


def test_no_room_for_weights(tiny_overrides, tmp_path):
    """Of the stages' files only a model is larger than this."""
    options = ["run_name=x", f"run_dir={tmp_path / 'run'}", "stages=[sft]", "loader=full"]
    options += [item for item in tiny_overrides if not item.startswith("loader.")]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-m", "rlhfkit", *options],
        cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("rlhfkit: no disk space left (while writing a model); finished stages")
    assert "; resume with: rlhfkit run_name=x " in said
    assert not (tmp_path / "run" / "sft" / "stage.json").exists()
