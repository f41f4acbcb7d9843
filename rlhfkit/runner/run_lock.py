"""One process at a time works in a run directory."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.storage.new_directories import missing, remove_empty
from rlhfkit.storage.run_dir import INVOCATIONS

LOCK = ".lock"
HOLDER = ".lock.holder"
"""Who has the lock, for the message to a second process; beside the lock, for on some systems a
locked file cannot be read."""
_HOLDER = "process {} on {}"


@contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """Have a run directory to oneself; raises `UserError` naming the process that has it already.

    The lock is the kernel's and ends with its process, however that ends. Of processes that were
    launched together the first has it for all.
    """
    if not processes.is_main():
        yield
        return
    new = missing(root)
    lock = _acquired(root)
    try:
        yield
    finally:
        if not any(place.is_dir() and place.name != INVOCATIONS for place in root.iterdir()):
            _unlink(root)  # no stage was started
        lock.release()
        remove_empty(new)


def _unlink(root: Path) -> None:
    """Remove the lock's files while it is held: who waits for it sees that they are gone."""
    for name in (HOLDER, LOCK):
        with suppress(OSError):  # Windows keeps the file of a lock
            (root / name).unlink()


def _acquired(root: Path) -> FileLock:
    lock = FileLock(root / LOCK)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
        holder = _HOLDER.format(os.getpid(), socket.gethostname())
        (root / HOLDER).write_text(holder, encoding="utf-8")
    except Timeout:
        raise UserError(
            f"{root}: {_holder(root)} is at work in this run directory; wait for it, end it, or "
            f"choose another run_name"
        ) from None
    except OSError as error:
        raise UserError(
            f"{root}: cannot be written ({error.strerror}); choose another place with run_dir=..."
        ) from error
    return lock


def _holder(root: Path) -> str:
    try:
        return (root / HOLDER).read_text(encoding="utf-8")
    except OSError:  # it has only just started
        return "another process"


def has_stopped(root: Path) -> bool:
    """Whether the process that had a run directory last is gone; False where that cannot be told,
    as of another machine's. Takes no lock itself, which would refuse a run that starts just now."""
    with suppress(OSError):
        text = (root / HOLDER).read_text(encoding="utf-8")
        held = re.fullmatch(_HOLDER.format(r"(\d+)", re.escape(socket.gethostname())), text)
        return held is not None and not psutil.pid_exists(int(held[1]))
    return False
