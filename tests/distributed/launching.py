"""rlhfkit in subprocesses: one, or several under `accelerate launch`."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CPU = ROOT / "conf" / "accelerate" / "cpu.yaml"
ENTRY_POINTS = "[rlhfkit]\nscripted = tests.distributed.scripted\n"


def launch(count, *words, module="rlhfkit", plugins=None, cwd=ROOT, config=CPU, environment=None):
    """`python -m module words` in so many processes; gives what subprocess.run does.

    plugins: a directory to announce `tests.distributed.scripted` in. environment: variables to set
    beside, or in the place of, what keeps processes on CPUs.
    """
    start = [sys.executable, "-m"]
    if count > 1:
        options = ["--config_file", str(config), "--num_processes", str(count)]
        start += ["accelerate.commands.launch", *options, "--main_process_port", free_port(), "-m"]
    path = [str(ROOT), *([announced(plugins)] if plugins else [])]
    settings = {
        "ACCELERATE_USE_CPU": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path),
        **(environment or {}),
    }
    return subprocess.run(
        [*start, module, *map(str, words)],
        cwd=cwd, env={**os.environ, **settings}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def announced(folder):
    """As an installed distribution announces its entry points."""
    found = folder / "scripted-1.0.dist-info"
    found.mkdir(parents=True, exist_ok=True)
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted\nVersion: 1.0\n")
    (found / "entry_points.txt").write_text(ENTRY_POINTS)
    return str(folder)
