"""Runs a command until the process that started this one is gone, however that ended.

`python server_guard.py COMMAND...`, with a pipe as standard input that nothing is written to: its
end is the other's end. The command has a session of its own, so that Ctrl-C does not reach it while
a stage still saves, and all of its processes are ended together. No imports but Python's own.
"""

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

PATIENCE = 10
"""Seconds to end by itself."""


def main(command: list[str]) -> int:
    """Gives the command's exit status."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.poll() is None:
            if select.select([sys.stdin], [], [], 0.5)[0]:
                _end(process.pid, signal.SIGTERM)
                process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _end(process.pid, signal.SIGKILL)  # what it left behind, too
    return process.wait()


def _end(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
