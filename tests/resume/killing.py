"""Runs that are killed with SIGKILL and started again until they end.

`python -m tests.resume.killing FOLDER OPTION...` is what test_kill.py runs, `soak` what `make soak`
does. Every start is a fork of one process that has imported everything, so that kills fall into the
work.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count, cycle
from pathlib import Path

import psutil

from rlhfkit.commands import main
from rlhfkit.storage import checkpoint_files
from rlhfkit.storage.run_dir import RECORD, STARTED
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
            main.main(list(arguments))
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        os._exit(0)
    return child


def wait(child: int) -> int:
    """The child's exit status, minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_after(arguments: Sequence[str], seconds: float) -> int:
    """The exit status of a run that has so much time of a processor, however busy that is."""
    child = start(arguments)
    process = psutil.Process(child)
    while process.status() != psutil.STATUS_ZOMBIE and sum(process.cpu_times()[:2]) < seconds:
        time.sleep(0.002)
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


def kill_every_write(folder: Path, arguments: Sequence[str]) -> Counter[str]:
    """Kill a run in writing one checkpoint after the other; gives the kills by stage."""
    kills: Counter[str] = Counter()
    own = [*arguments, f"run_dir={folder}"]
    turns = cycle([("renamed", 1), ("aside", 2), ("digests", 2)])  # each a checkpoint further
    while status := kill_while_writing(own, *next(turns)):
        assert status == -signal.SIGKILL
        kills[stage_of(folder)] += 1
    return kills


def kill_at_random(folder: Path, arguments: Sequence[str], seconds: float) -> Counter[str]:
    """Kill a run at random moments, at most that much work apart, and a little more each time, so
    that it ends; gives the kills by stage."""
    kills: Counter[str] = Counter()
    own = [*arguments, f"run_dir={folder}"]
    while status := kill_after(own, random.uniform(0, seconds)):
        assert status == -signal.SIGKILL
        kills[stage_of(folder)] += 1
        seconds *= 1.1
    return kills


def never_killed(folder: Path, arguments: Sequence[str]) -> float:
    """Such a run; gives the seconds of a processor that it takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert wait(start([*arguments, f"run_dir={folder}"])) == 0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def soak(folder: Path, minutes: float, arguments: Sequence[str]) -> None:
    """Run after run, each killed until it ends; AssertionError for one that ends otherwise."""
    deadline = time.monotonic() + 60 * minutes
    seconds = never_killed(folder / "whole", arguments)
    wanted = contents(folder / "whole")
    kills: Counter[str] = Counter()
    for number in count(1):
        if time.monotonic() > deadline:
            return
        run = folder / f"killed_{number}"
        kills += kill_at_random(run, arguments, seconds / 3)
        found = contents(run)
        differing = [name for name in wanted | found if wanted.get(name) != found.get(name)]
        assert not differing, f"run {number} differs in {differing}"
        shutil.rmtree(run)
        print(f"{number} runs, {sum(kills.values())} kills: {dict(kills)}", flush=True)


def test(folder: Path, arguments: Sequence[str]) -> None:
    """Three runs of the same: never killed, in writing, and at random; tells the kills."""
    seconds = never_killed(folder / "whole", arguments)
    writing = kill_every_write(folder / "writing", arguments)
    anywhere = kill_at_random(folder / "anywhere", arguments, seconds / 4)
    print(json.dumps({"writing": writing, "anywhere": anywhere}))


if __name__ == "__main__":
    place, *given = sys.argv[1:]
    import_everything()
    test(Path(place), given)
