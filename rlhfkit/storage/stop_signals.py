"""Ctrl-C and SIGTERM: the stage saves what it has at its next step, and the run ends.

A second one ends it at once. No torch here: the command line imports this module.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rlhfkit.distributed import processes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and what it had is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stop_at_next_step() -> Iterator[None]:
    """Inside, the first signal is only noted; `requested` tells of it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread only
        return
    before = {number: signal.signal(number, _note) for number in _SIGNALS}
    try:
        yield
    finally:
        _received.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def requested() -> int:
    """The signal that asked one of the processes to stop, 0 as long as none has; all ask at the
    same places."""
    return max(processes.gather([_received[0] if _received else 0]))


def request_stop() -> None:
    """Ask for the stop that a first signal asks for."""
    if not _received:
        _received.append(signal.SIGTERM)


def stop_if_requested() -> None:
    """Where everything is saved; raises `Interrupted`."""
    if asked := requested():
        raise Interrupted(asked)


def _note(number: int, frame: FrameType | None) -> None:
    if _received:
        raise KeyboardInterrupt
    _received.append(number)
    os.write(2, b"\nstopping at the next step, when a checkpoint is saved; again to stop at once\n")
