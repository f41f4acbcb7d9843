"""Compiles the virtual card once for the installed PyTorch; later calls find it made."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import platformdirs
from filelock import FileLock

SOURCE = Path(__file__).with_name("virtual_cuda.cpp")


def library() -> Path | None:
    """The compiled card; None where there is no C++ compiler or the system is not Linux."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or sys.platform != "linux":
        return None
    # another PyTorch or another source is another library: neither can be loaded for the other
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("rlhfkit-tests"))
    made = folder / f"virtual-cuda-{version('torch')}-{digest}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(made.with_suffix(".lock")):
        if not made.exists():
            _compile(compiler, made)
    return made


def torch_folder() -> Path:
    """Where PyTorch is, found without importing it: the card has to be loaded first."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _compile(compiler: str, made: Path) -> None:
    torch = torch_folder()
    unfinished = made.with_suffix(f".{os.getpid()}")  # a build that was cut off is never loaded
    command = [compiler, "-std=c++20", "-O1", "-fPIC", "-shared", str(SOURCE)]
    command += [f"-I{torch / 'include'}", f"-I{torch / 'include/torch/csrc/api/include'}"]
    command += [f"-L{torch / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch / 'lib'}"]
    done = subprocess.run([*command, "-o", str(unfinished)], capture_output=True, text=True)
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        raise RuntimeError(f"the virtual card does not compile:\n{done.stderr[-4000:]}")
    os.replace(unfinished, made)
