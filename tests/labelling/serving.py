"""`rlhfkit label RUN` as a process of its own, which can be killed."""

import signal
import socket
import subprocess
import sys

from rlhfkit.storage.run_dir import RunDir
from tests.labelling.browser import wait


class Served:
    """Started by `with` and ended by SIGTERM behind it."""

    def __init__(self, run: RunDir, *flags: str, port: int = 0, waits: bool = True) -> None:
        """waits: whether a labeler is waited for; without it the command ends by itself."""
        self.run, self.flags, self._waits = run, flags, waits
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.link = ""

    def __enter__(self) -> "Served":
        command = [sys.executable, "-m", "rlhfkit", "label", str(self.run.root)]
        self._process = subprocess.Popen(
            [*command, f"--port={self.port}", *self.flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "/join/" in line:
                self.link = line.strip()
                break
        assert self.link, "".join(lines)
        if self._waits:
            wait(self._answers, "the server answers")
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)

    def ended(self) -> int:
        """Wait until it has ended by itself; gives the exit status."""
        self._process.communicate(timeout=20)
        return self._process.returncode

    def kill(self) -> None:
        """As a power cut does."""
        self.end(signal.SIGKILL)

    def end(self, number: int) -> str:
        """Send a signal and wait; gives what was printed last."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.communicate(timeout=20)[0]

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
