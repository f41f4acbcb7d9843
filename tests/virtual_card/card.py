"""Puts the virtual CUDA card into this process: import this before torch.

A process gets the card for good, so tests start one for it (see `on_card`). The environment says
which card it is:

    VIRTUAL_CUDA_LIB         the compiled card (see build.py)
    VIRTUAL_CUDA_GIB         its memory, 24 unless given
    VIRTUAL_CUDA_USED_GIB    what other programs hold of it, none unless given
    VIRTUAL_CUDA_CAPABILITY  8.9 unless given; below 8.0 it has no bfloat16 of its own
    VIRTUAL_CUDA_LIMIT_MIB   where memory runs out, if before the card is full
    VIRTUAL_CUDA_OOM_TEXT    what a RuntimeError says then, in place of torch.OutOfMemoryError
"""

import atexit
import contextlib
import ctypes
import os
import sys
import time
from types import SimpleNamespace
from typing import Any, Self

from tests.virtual_card.build import torch_folder

# PyTorch looks for its CUDA hooks once, while it is imported
assert "torch" not in sys.modules, "the virtual card has to be imported before torch"
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # bitsandbytes would compile for a minute
for _path in (
    torch_folder() / "lib/libc10.so",
    torch_folder() / "lib/libtorch_cpu.so",
    os.environ["VIRTUAL_CUDA_LIB"],
):
    ctypes.CDLL(str(_path), mode=ctypes.RTLD_GLOBAL)

import bitsandbytes  # noqa: E402, F401  -- before the card is seen: it would look for a CUDA library
import torch  # noqa: E402

_native = torch.ops.virtual_cuda
_TOTAL = int(float(os.environ.get("VIRTUAL_CUDA_GIB", "24")) * 2**30)
_USED = int(float(os.environ.get("VIRTUAL_CUDA_USED_GIB", "0")) * 2**30)
_MAJOR, _MINOR = map(int, os.environ.get("VIRTUAL_CUDA_CAPABILITY", "8.9").split("."))
_NAME = f"virtual card {_MAJOR}.{_MINOR}"


def live() -> int:
    """Bytes that tensors hold on the card now."""
    return _native.live()


def peak() -> int:
    """The most bytes that tensors held at once, since the last `reset_peak`."""
    return _native.peak()


def reset_peak() -> None:
    """Let the peak start again from what is held now."""
    _native.reset_peak()


def limit(size: int | None) -> None:
    """Let memory run out at this many bytes; None: where the card is full."""
    _native.limit(_TOTAL - _USED if size is None else size)


def fail_with(text: str | None) -> None:
    """Raise a RuntimeError with this text where memory runs out; None: as PyTorch does."""
    _native.fail_with(text or "")


class _Done:
    """A stream or an event: the card does everything at once, so nothing is to be waited for."""

    cuda_stream = 0
    device = torch.device("cuda", 0)

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: Self) -> float:
        return 0.0

    def record_event(self, event: Self | None = None) -> Self:
        return event or _Done()

    def record(self, *args: Any) -> None:
        pass

    synchronize = wait_stream = wait_event = wait = record


def _properties(device: object = None) -> SimpleNamespace:
    return SimpleNamespace(
        name=_NAME,
        major=_MAJOR,
        minor=_MINOR,
        total_memory=_TOTAL,
        multi_processor_count=128,
        warp_size=32,
    )


def _set_device(device: Any) -> None:
    torch.empty(0, device=torch.device("cuda", device) if isinstance(device, int) else device)


def _install_devices() -> None:
    cuda = torch.cuda
    cuda.is_available = cuda.is_initialized = cuda._is_compiled = lambda: True
    cuda._initialized = True
    cuda.init = cuda._lazy_init = cuda.random._lazy_init = lambda: None
    cuda._lazy_call = cuda.random._lazy_call = lambda call, **options: call()
    cuda._is_in_bad_fork = lambda: False
    cuda.device_count = cuda.random.device_count = lambda: 1
    cuda.current_device = cuda.random.current_device = lambda: 0
    cuda.set_device = _set_device
    cuda._exchange_device = cuda._maybe_exchange_device = lambda device: 0
    cuda.default_generators = (_native.default_generator(),)
    cuda.get_device_properties = _properties
    cuda.get_device_capability = lambda device=None: (_MAJOR, _MINOR)
    cuda.get_device_name = lambda device=None: _NAME
    cuda.get_arch_list = lambda: [f"sm_{_MAJOR}{_MINOR}"]
    torch.version.cuda = "12.8"


def _install_streams() -> None:
    cuda = torch.cuda
    for module in (cuda, cuda.streams, torch):
        module.Stream = module.Event = _Done
    cuda.stream = lambda stream: contextlib.nullcontext()
    cuda.current_stream = cuda.default_stream = lambda device=None: _Done()
    cuda.set_stream = lambda stream: None
    cuda.synchronize = lambda device=None: None


def _install_memory() -> None:
    for module in (torch.cuda, torch.cuda.memory):
        module.memory_allocated = module.memory_reserved = lambda device=None: live()
        module.max_memory_allocated = module.max_memory_reserved = lambda device=None: peak()
        module.reset_peak_memory_stats = lambda device=None: reset_peak()
        module.mem_get_info = lambda device=None: (max(_TOTAL - _USED - live(), 0), _TOTAL)
        module.memory_stats = lambda device=None: {}
        module.empty_cache = module.ipc_collect = lambda: None


from tests.virtual_card import graphs  # noqa: E402  -- after torch

_install_devices()
_install_streams()
_install_memory()
graphs.install()
_CAP = os.environ.get("VIRTUAL_CUDA_LIMIT_MIB")
limit(None if _CAP is None else int(float(_CAP) * 2**20))
fail_with(os.environ.get("VIRTUAL_CUDA_OOM_TEXT"))
# The card's autograd thread lets go of the last graph after backward() has returned. If it wants
# the interpreter's lock when Python is already ending, the process is aborted: give it the time.
atexit.register(time.sleep, 0.3)
