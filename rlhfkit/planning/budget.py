"""The nearest settings that stay within a card's memory."""

from collections.abc import Callable, Mapping
from typing import Any

from rlhfkit.config.run import RunConfig
from rlhfkit.models.batch_size import Tokens, micro_batch, rows_of
from rlhfkit.planning.phases import Lengths
from rlhfkit.planning.plan import SERVER, PhasePlan

Plan = Mapping[str, PhasePlan]


def nearest_fit(
    plan: Plan,
    limit: float,
    configure: Callable[[list[str]], RunConfig],
    replan: Callable[[RunConfig, str], Plan],
) -> list[str] | None:
    """Overrides with which every phase stays below the limit; None when nothing here suffices.

    configure: the run's options with overrides. replan: the phases of one stage with them. Phase by
    phase, what costs least comes first: steps that the sampler records anew, gradient
    checkpointing and smaller micro-batches cost time and change no result. A base that is too large
    by itself is kept in 4 bits.
    """
    chosen: dict[str, str] = {}
    current = dict(plan)
    while over := [name for name, phase in current.items() if phase.peak > limit]:
        options = configure(_overrides(chosen))
        parts = current[over[0]].parts
        base_too_large = parts["base"] > limit - parts.get(SERVER, 0.0)
        kept = getattr(options.sampler, "keep", False) and parts.get("KV cache", 0.0) > 0
        change = _next_change(over[0], options, base_too_large, kept)
        if not change:
            return None
        chosen |= change
        options = configure(_overrides(chosen))
        stages = {current[name].stage for name in (current if "loader" in change else over[:1])}
        for stage in stages:
            current |= replan(options, stage)
    return _overrides(chosen)


def _overrides(chosen: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in chosen.items()]


def _next_change(phase: str, config: RunConfig, base_too_large: bool, kept: bool) -> dict[str, str]:
    """One step towards less memory in a phase; nothing when there is none left. kept: whether the
    sampler keeps something meanwhile."""
    stage = config.stage
    if base_too_large:
        return {} if config.loader.name == "qlora" else {"loader": "qlora"}
    if phase in ("sample", "rollout", "evaluate"):
        return _halved("sampler.batch_size", getattr(config.sampler, "batch_size", 1))
    if kept:
        return {"sampler.keep": "false"}
    if phase == "score":
        return _smaller_micro_batch(config)
    if phase == "update":
        if not stage.rl.gradient_checkpointing:
            return {"stage.rl.gradient_checkpointing": "true"}
        return _smaller_micro_batch(config)
    return _less_training(phase, getattr(stage, phase))


def _less_training(stage: str, options: Any) -> dict[str, str]:
    """The next step of a stage with a trainer: accumulation makes up for a smaller batch."""
    if not options.gradient_checkpointing:
        return {f"stage.{stage}.gradient_checkpointing": "true"}
    size, steps = options.per_device_train_batch_size, options.gradient_accumulation_steps
    if size % 2:
        return {}
    halved = _halved(f"stage.{stage}.per_device_train_batch_size", size)
    return halved | {f"stage.{stage}.gradient_accumulation_steps": str(2 * steps)}


def _smaller_micro_batch(config: RunConfig) -> dict[str, str]:
    size = micro_batch(config.stage.rl)
    unit = "tokens" if isinstance(size, Tokens) else "size"
    several = rows_of(size, Lengths.of(config).episode) > 1
    return _halved(f"stage.rl.micro_batch_{unit}", size) if several else {}


def _halved(option: str, size: int) -> dict[str, str]:
    return {option: str(size // 2)} if size > 1 else {}
