"""How much memory there is, and the nearest settings that stay within it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from rlhfkit.config import RunConfig
from rlhfkit.errors import UserError
from rlhfkit.planning.plan import PhasePlan

GIB = 2**30

RESERVED = 0.6 * GIB
"""Bytes for the CUDA context and the libraries' kernels: an allowance, not measured."""

FRAGMENTED = 0.05
"""Share of a card that the allocator cannot use: an allowance, not measured."""

_UNITS = {"GB": GIB, "GIB": GIB, "MB": 2**20, "MIB": 2**20}


def read_size(text: str) -> float:
    """Bytes of `12GB` or `800MB`; cards are sold in gigabytes of 2^30 bytes."""
    found = re.fullmatch(r"([\d.]+)\s*([A-Za-z]+)", text.strip())
    if not found or found.group(2).upper() not in _UNITS:
        raise UserError(f"gpu={text}: not a size; write it as gpu=12GB")
    return float(found.group(1)) * _UNITS[found.group(2).upper()]


def usable(card: float) -> float:
    """Bytes of a card that tensors can take."""
    return card * (1 - FRAGMENTED) - RESERVED


Plan = Mapping[str, PhasePlan]
Change = Callable[[RunConfig], list[str]]


def nearest_fit(
    plan: Plan,
    limit: float,
    configure: Callable[[list[str]], RunConfig],
    replan: Callable[[RunConfig, str], Plan],
) -> list[str] | None:
    """Overrides with which every phase stays below the limit, None when nothing here suffices.

    Phase by phase, the change that costs least comes first: gradient checkpointing costs time,
    a smaller micro-batch costs speed, neither changes results.
    """
    chosen: dict[str, str] = {}
    plan = dict(plan)
    while over := [name for name, phase in plan.items() if phase.peak > limit]:
        phase = over[0]
        config = configure([f"{key}={value}" for key, value in chosen.items()])
        change = _next_change(phase, config)
        if not change:
            return None
        chosen |= change
        config = configure([f"{key}={value}" for key, value in chosen.items()])
        plan |= replan(config, plan[phase].stage)
    return [f"{key}={value}" for key, value in chosen.items()]


def _next_change(phase: str, config: RunConfig) -> dict[str, str]:
    stage: Any = config.stage
    if phase in ("sample", "rollout", "evaluate"):
        return _halve("sampler.batch_size", getattr(config.sampler, "batch_size", 1))
    if phase == "score":
        return _halve("stage.rl.micro_batch_size", stage.rl.micro_batch_size)
    if phase == "update":
        if not stage.rl.gradient_checkpointing:
            return {"stage.rl.gradient_checkpointing": "true"}
        return _halve("stage.rl.micro_batch_size", stage.rl.micro_batch_size)
    options = stage[phase] if isinstance(stage, dict) else getattr(stage, phase)
    if not options.gradient_checkpointing:
        return {f"stage.{phase}.gradient_checkpointing": "true"}
    size, steps = options.per_device_train_batch_size, options.gradient_accumulation_steps
    halved = _halve(f"stage.{phase}.per_device_train_batch_size", size)
    if not halved or size % 2:
        return {}
    return halved | {f"stage.{phase}.gradient_accumulation_steps": str(2 * steps)}


def _halve(option: str, size: int) -> dict[str, str]:
    return {option: str(size // 2)} if size > 1 else {}
