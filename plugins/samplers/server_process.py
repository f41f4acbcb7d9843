"""A vLLM server that rlhfkit starts when a stage first samples, and stops with the stage."""

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from rlhfkit.console import PLAIN_INTERVAL_S, console
from rlhfkit.context import Context
from rlhfkit.errors import Stopped
from rlhfkit.models.loading import locate
from rlhfkit_plugins.samplers import ServerConfig, server_guard
from rlhfkit_plugins.samplers.server_checks import longest

FOLDER = "vllm"
"""In the run: the server's log, and the adapters that it is sent."""

NAME = "base"
"""What a server of ours calls the base model."""

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank may be."""

_SETTINGS = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}


def words(config: ServerConfig, context: Context, port: int) -> list[str]:
    """The command line that serves the run's base model to this machine alone."""
    model = context.config.model
    length, _ = longest(config, context)
    dtype = str(context.precision.autocast or context.precision.weights).removeprefix("torch.")
    rank = getattr(context.config.loader, "lora_r", None)
    found = [*config.command, "serve", locate(context, model.path), "--served-model-name", NAME]
    found += ["--host", "127.0.0.1", "--port", str(port), "--dtype", dtype]
    found += ["--max-model-len", str(length), "--logprobs-mode", "processed_logprobs"]
    if model.trust_remote_code:
        found += ["--trust-remote-code"]
    if model.revision is not None:
        found += ["--revision", model.revision]
    if rank is not None:
        allowed = next((size for size in _RANKS if size >= rank), rank)
        found += ["--enable-lora", "--max-lora-rank", str(allowed)]
    if context.device_kind == "cuda":
        found += ["--gpu-memory-utilization", str(config.gpu_memory_utilization)]
    return [*found, *config.arguments]


@dataclass
class ServerProcess:
    """One that runs, and where it listens."""

    url: str
    log: Path
    _guard: "subprocess.Popen[bytes]"

    @classmethod
    def started(cls, config: ServerConfig, context: Context) -> "ServerProcess":
        """Waits until it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = context.run_dir.root / FOLDER / "log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, server_guard.__file__, *words(config, context, port)]
        with log.open("ab") as file:
            guard = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the guard of ours
                stdout=file,
                stderr=file,
                env=os.environ | _SETTINGS,
                start_new_session=True,
            )
        server = cls(f"http://127.0.0.1:{port}", log, guard)
        try:
            server._wait(config.start_timeout)
        except BaseException:
            server.stop()
            raise
        return server

    def stop(self) -> None:
        """Ends it, and waits for that."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def _wait(self, timeout: float) -> None:
        console.print(f"  starting vLLM, whose log is {self.log}", markup=False, soft_wrap=True)
        began = told = time.monotonic()
        while not self._answers():
            now = time.monotonic()
            if self._guard.poll() is not None:
                raise Stopped(f"sampler=server: vLLM ended by itself: {self._last()}; {self.log}")
            if now - began > timeout:
                raise Stopped(
                    f"sampler.start_timeout={timeout:g}: vLLM is not ready: {self._last()}; "
                    f"{self.log}"
                )
            if now - told > PLAIN_INTERVAL_S:
                told = now
                console.print(f"  vLLM, {now - began:.0f} s: {self._last()}", markup=False)
            time.sleep(0.2)
        console.print(f"  vLLM is ready after {time.monotonic() - began:.0f} s")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except OSError:
            return False

    def _last(self) -> str:
        """The last line of its log that says something."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no word")


_running: list[ServerProcess] = []
"""The one of the present stage."""


def running(config: ServerConfig, context: Context) -> ServerProcess:
    """The stage's server, started where there is none yet."""
    if not _running:
        _running.append(ServerProcess.started(config, context))
    return _running[0]


@atexit.register
def stop() -> None:
    """End the stage's server, where there is one: the next stage may need its memory."""
    while _running:
        _running.pop().stop()
