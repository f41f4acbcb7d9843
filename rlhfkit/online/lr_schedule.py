"""Learning rates over the iterations of RL."""

import torch

from rlhfkit.config.online import OnlineConfig

_START = 0.1
"""Share of the peak at which a warmup begins (InstructGPT, C.4)."""


def set_rates(
    optimizer: torch.optim.Optimizer, config: OnlineConfig, iteration: int, iterations: int
) -> None:
    """Set each group's rate for an iteration, counted from 1; groups keep their peak as
    `initial_lr`, and the one named `policy` warms up."""
    falling = config.lr_scheduler_type == "linear"
    decay = 1 - (iteration - 1) / iterations if falling else 1.0
    for group in optimizer.param_groups:
        peak = group.setdefault("initial_lr", group["lr"])
        rise = warmup(iteration, config.warmup_iterations) if group["name"] == "policy" else 1.0
        group["lr"] = peak * decay * rise


def warmup(iteration: int, iterations: int) -> float:
    """From a tenth in the first iteration to 1 in the one after the last of the warmup."""
    if iteration > iterations:
        return 1.0
    return _START + (1 - _START) * (iteration - 1) / iterations
