"""What a benchmark ran on: the header of every benchmark's JSON."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("rlhfkit", "transformers", "peft", "trl", "accelerate", "bitsandbytes")


def header(device: str, seed: int) -> dict[str, Any]:
    """Hardware, versions, commit and date. On CUDA it opens the device: call it in a process whose
    end gives that memory back."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name"),  # not in torch 2.9
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "libraries": {name: version(name) for name in LIBRARIES},
        "gpu": _gpu(torch.device(device)) if _is_cuda(device) else None,
    }


def _is_cuda(device: str) -> bool:
    return device.startswith("cuda") and torch.cuda.is_available()


def _gpu(device: torch.device) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "driver": _driver(),
    }


def _driver() -> str | None:
    """PyTorch does not know the driver's version."""
    lines = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return lines.splitlines()[0] if lines else None


def _git_commit() -> str | None:
    """With `+` behind it where tracked files differ from the commit."""
    root = str(Path(__file__).parent)
    commit = _output("git", "-C", root, "rev-parse", "HEAD")
    changed = _output("git", "-C", root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if commit and changed else commit


def _output(*command: str) -> str | None:
    """What a command prints; None where there is no such command or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
