"""Runs that are killed with SIGKILL and started again until they end.

`python -m tests.resume.killing FOLDER MINUTES` goes on for that long: `make soak`. Every start is a
fork of one process that has imported everything, so that kills fall into the work.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rlhfkit import checkpoint_files, cli
from rlhfkit.run_dir import RECORD, STARTED
from tests.resume.comparing import contents

PLACES = ("aside", "digests", "renamed")
"""In the writing of a checkpoint: its files are there; its digests too; it has its name, and the
one before is still there."""


def import_everything() -> None:
    """What the stages import, in the process that is forked."""
    import trl  # noqa: F401

    import rlhfkit.stages.evaluate
    import rlhfkit.stages.reward_model
    import rlhfkit.stages.rl
    import rlhfkit.stages.sft  # noqa: F401


def start(arguments: Sequence[str], before: Callable[[], None] = lambda: None) -> int:
    """Run the command in a child process; gives its number."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        before()
        try:
            cli.main(list(arguments))
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        os._exit(0)
    return child


def wait(child: int) -> int:
    """The child's exit status, minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_after(arguments: Sequence[str], seconds: float) -> int:
    """The exit status of a run that has so much time."""
    child = start(arguments)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return wait(child)


def kill_while_writing(arguments: Sequence[str], place: str, turn: int) -> int:
    """The exit status of a run that kills itself in writing its checkpoint number `turn`."""
    return wait(start(arguments, lambda: _kill_in(place, turn)))


def _kill_in(place: str, turn: int) -> None:
    """Let a process kill itself: it syncs each file, the folder aside, and the folder above."""
    digests, sync = checkpoint_files._digests, checkpoint_files._sync
    calls: Counter[str] = Counter()

    def reach(here: str) -> None:
        calls[here] += 1
        if here == place and calls[here] == turn:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched_digests(folder: Path) -> dict[str, str]:
        if folder.name == checkpoint_files._ASIDE:
            reach("aside")
        return digests(folder)

    def watched_sync(path: Path) -> None:
        sync(path)
        if path.name == checkpoint_files._ASIDE:
            reach("digests")
        elif path.name == "checkpoints":
            reach("renamed")

    checkpoint_files._digests, checkpoint_files._sync = watched_digests, watched_sync


def stage_of(run: Path) -> str:
    """Which stage a run is in."""
    started = [path.parent.name for path in run.glob(f"*/{STARTED}")]
    running = [name for name in started if not (run / name / RECORD).exists()]
    return running[0] if running else "between stages"


def soak(folder: Path, minutes: float, arguments: Sequence[str]) -> Counter[str]:
    """Kill runs at random moments; gives the kills by stage. AssertionError for a run that ends
    otherwise than one never killed."""
    import_everything()
    began = time.monotonic()
    assert wait(start([*arguments, f"run_dir={folder / 'whole'}"])) == 0
    seconds = time.monotonic() - began
    wanted = contents(folder / "whole")
    kills: Counter[str] = Counter()
    runs = 0
    while time.monotonic() < began + 60 * minutes:
        runs += 1
        run = folder / f"killed_{runs}"
        while status := kill_after([*arguments, f"run_dir={run}"], random.uniform(0, seconds / 2)):
            assert status == -signal.SIGKILL
            kills[stage_of(run)] += 1
        assert contents(run) == wanted, f"{run} differs from {folder / 'whole'}"
        print(f"{runs} runs, {sum(kills.values())} kills: {dict(kills)}", flush=True)
    return kills
