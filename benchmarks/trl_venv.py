"""A virtual environment with the TRL that rlhfkit is compared with, made once and kept."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from platformdirs import user_cache_path

from rlhfkit.console import console

TRL = "1.12.0"
"""Its trl.experimental.ppo is what rlhfkit is compared with."""

_CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
_READY = "ready"
"""The file that is written when everything is installed."""


def trl_python() -> Path:
    """The environment's interpreter; everything but TRL is of the versions that rlhfkit runs on."""
    version = torch.__version__.partition("+")[0]
    folder = user_cache_path("rlhfkit") / f"benchmarks-trl-{TRL}-torch-{version}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (folder / _READY).exists():
        console.print(f"making {folder} with trl {TRL}: some minutes", soft_wrap=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        _install(python, version)
        (folder / _READY).touch()
    return python


def _install(python: Path, torch_version: str) -> None:
    """torch first and by itself, so that the platform's own build is taken."""
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"torch=={torch_version}"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(_without_trl(_CONSTRAINTS.read_text(encoding="utf-8")))
        packages = [f"trl=={TRL}", "peft", "pandas", "rich"]
        subprocess.run([*pip, "--constraint", constraints, *packages], check=True)


def _without_trl(constraints: str) -> str:
    lines = constraints.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("trl==", "torch==")))
