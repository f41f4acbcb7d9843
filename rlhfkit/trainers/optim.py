"""AdamW and where it keeps its two numbers a parameter; the names are transformers'."""

from typing import Any

import torch

from rlhfkit.console import console
from rlhfkit.distributed.fsdp import shard_like

UNPAGED = {"paged_adamw_32bit": "adamw_torch", "paged_adamw_8bit": "adamw_8bit"}


def available_optim(option: str, name: str, device: torch.device) -> str:
    """The optimizer to build for an option's value: on CUDA AdamW is one kernel for many
    parameters; on CPUs nothing is paged, a line says so."""
    if device.type == "cuda" and name == "adamw_torch":
        return "adamw_torch_fused"
    if device.type == "cpu" and name in UNPAGED:
        console.print(
            f"{option}={name}: pages are for GPUs, this runs on a CPU with {UNPAGED[name]}",
            soft_wrap=True,
        )
        return UNPAGED[name]
    return name


def build_optimizer(
    name: str, groups: list[dict[str, Any]], **options: Any
) -> torch.optim.Optimizer:
    """AdamW over parameter groups, as transformers' Trainer makes it of the same name."""
    if name.startswith("adamw_torch"):
        fused = True if name.endswith("fused") else None
        return torch.optim.AdamW(groups, fused=fused, **options)
    from bitsandbytes.optim import AdamW

    bits = 8 if name.endswith("8bit") else 32
    made: torch.optim.Optimizer = AdamW(
        groups, optim_bits=bits, is_paged=name.startswith("paged"), **options
    )
    return made


def load_optimizer(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Go on from an optimizer's state, `gather_state` of it or of whole parameters."""
    every = [each for group in optimizer.param_groups for each in group["params"]]
    for place, own in state["state"].items():
        own.update({name: shard_like(every[place], value) for name, value in own.items()})
    _load(getattr(optimizer, "optimizer", optimizer), state)  # accelerate wraps a trainer's


def _load(optimizer: Any, saved: dict[str, Any]) -> None:
    """`optimizer.load_state_dict(saved)`, with paged states in pages again: bitsandbytes' own moves
    all of them onto the card and leaves them there, where a run that needs pages has no room. It
    pages no tensor below 100,000 numbers."""
    if not getattr(optimizer, "is_paged", False):
        optimizer.load_state_dict(saved)
        return
    optimizer.load_state_dict(saved, move_to_device=False)
    for parameter, state in optimizer.state.items():
        for name in {"state1", "state2"} & set(state):
            buffer = optimizer.get_state_buffer(parameter, dtype=state[name].dtype)
            state[name] = buffer.copy_(state[name])
    optimizer.to_gpu()  # what is not paged, as tables of 8-bit values
