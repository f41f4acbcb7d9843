"""Nested state on disk: dicts, lists, tuples, tensors and plain values in one safetensors file.

Nothing in it is pickled, so that reading it runs nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rlhfkit.distributed.processes import is_main

State = Any
"""Tensors, numbers, texts and None in dicts, lists and tuples of any depth."""

_STRUCTURE = "structure"


def save_state(path: Path, state: State) -> None:
    """Write state, of several processes the main one's; TypeError for a value of another kind."""
    if not is_main():
        return
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_take_apart(state, tensors)).encode()
    tensors[_STRUCTURE] = torch.frombuffer(bytearray(structure), dtype=torch.uint8)
    save_file(tensors, path)


def load_state(path: Path) -> State:
    """What `save_state` wrote, bit by bit, with all tensors on the CPU."""
    with safe_open(path, framework="pt") as file:
        structure = bytes(file.get_tensor(_STRUCTURE).tolist())
        return _put_together(json.loads(structure), file.get_tensor)


def _take_apart(value: State, tensors: dict[str, Tensor]) -> Any:
    """The same as JSON, which has neither tuples nor keys that are numbers."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _take_apart(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_take_apart(item, tensors) for item in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a checkpoint cannot hold {value!r}")


def _put_together(value: Any, tensor: Callable[[str], Tensor]) -> State:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensor(content)
    if kind == "dict":
        return {key: _put_together(item, tensor) for key, item in content}
    items = [_put_together(item, tensor) for item in content]
    return tuple(items) if kind == "tuple" else items
