"""What `accelerate launch` is asked for beyond plain processes, and what of it works. No torch."""

import os
from collections.abc import Mapping, Sequence

from rlhfkit.config.online import OnlineConfig
from rlhfkit.config.run import RunConfig
from rlhfkit.distributed import processes
from rlhfkit.distributed.launch import OURS, wants_sharding
from rlhfkit.errors import UserError
from rlhfkit.stage import Stage

_FSDP = {
    "FSDP_VERSION": ("2",),
    "FSDP_OFFLOAD_PARAMS": ("false",),
    "FSDP_ACTIVATION_CHECKPOINTING": ("false",),
}
"""The only values of a config file's fsdp_config that work here; the rest is of no consequence."""

_DEEPSPEED = {
    "ACCELERATE_DEEPSPEED_ZERO_STAGE": ("2", "3"),
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": ("none",),
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": ("none",),
    "ACCELERATE_DEEPSPEED_CONFIG_FILE": ("none",),
}
"""The same of deepspeed_config, where this project does DeepSpeed's work."""

_OPTIMS = ("adamw_torch", "adamw_torch_fused")

_PLAIN = "launch with --multi_gpu, a whole copy on each card"


def plannable_stages(stages: Sequence[Stage]) -> list[str]:
    """The stages whose memory the planner knows: it counts whole models."""
    return [stage.name for stage in stages if not (stage.shardable and wants_sharding())]


def check_launcher(config: RunConfig, chosen: Sequence[Stage]) -> None:
    """Take sharding over from accelerate. Raises `UserError` for what would not work, before
    anything is loaded."""
    if _is_set("ACCELERATE_USE_FSDP"):
        _take_over("FSDP", _FSDP)
    if processes.under_deepspeed():
        if "rl" in config.stages and not isinstance(config.optimizer, OnlineConfig):
            _check_deepspeed(config, chosen)
        else:
            _take_over("DEEPSPEED", _DEEPSPEED)
    if wants_sharding():
        _check_sharding(config, chosen)


def _take_over(engine: str, options: Mapping[str, tuple[str, ...]]) -> None:
    for variable, works in options.items():
        value = os.environ.get(variable, works[0]).lower()
        if value not in works:
            option = variable.lower().removeprefix("accelerate_deepspeed_")
            raise UserError(
                f"{engine.lower()}_config.{option}={value}: with rlhfkit it is {' or '.join(works)}"
            )
    os.environ.pop(f"ACCELERATE_USE_{engine}")
    os.environ[OURS] = engine


def _check_sharding(config: RunConfig, chosen: Sequence[Stage]) -> None:
    if config.loader.name == "qlora":
        raise UserError(f"sharding: loader=qlora is not sharded; {_PLAIN}, or take loader=lora")
    if "rl" in config.stages:
        _check_rl(config)
    for stage in (stage.name for stage in chosen if stage.shardable):
        in_rl = stage == "rl"
        option = "optimizer.optim" if in_rl else f"stage.{stage}.optim"
        optim = config.optimizer.optim if in_rl else getattr(config.stage, stage).optim
        if optim not in _OPTIMS:
            raise UserError(
                f"sharding: {option}={optim} is not sharded; choices: {', '.join(_OPTIMS)}"
            )


def _check_rl(config: RunConfig) -> None:
    """Four whole models in shares; adapters have one base, which DDP keeps once a card as well."""
    optimizer, size = config.optimizer, config.stage.rl.batch_size
    if not isinstance(optimizer, OnlineConfig):
        raise UserError(
            f"sharding: optimizer={optimizer.name} is TRL's own and not sharded; {_PLAIN}"
        )
    if config.loader.name != "full":
        raise UserError(
            f"sharding: stage rl shards loader=full, not {config.loader.name}; {_PLAIN}"
        )
    if config.loader.offload_idle:
        raise UserError(
            "sharding: loader.offload_idle=true: models in shares do not leave the device"
        )
    mini = -(-size // optimizer.num_mini_batches)
    sizes = {
        "stage.rl.batch_size": size,
        "stage.rl.batch_size / optimizer.num_mini_batches": mini,
    }
    if optimizer.ptx_coef and optimizer.ptx_per_episode is None:
        sizes["optimizer.ptx_batch_size"] = optimizer.ptx_batch_size
    for option, rows in sizes.items():
        if rows % processes.world_size():
            raise UserError(
                f"sharding: {option}={rows} is no multiple of {processes.world_size()} processes"
            )


def _check_deepspeed(config: RunConfig, chosen: Sequence[Stage]) -> None:
    """DeepSpeed itself, for TRL's own trainers."""
    if _is_set("ACCELERATE_USE_CPU"):
        raise UserError(
            "DeepSpeed: with ACCELERATE_USE_CPU=true accelerate leaves it out without a word; "
            "CUDA_VISIBLE_DEVICES= keeps it off the GPUs"
        )
    before = [stage.name for stage in chosen if stage.shardable and stage.name != "rl"]
    if before:
        raise UserError(
            f"DeepSpeed: optimizer={config.optimizer.name} runs under it, stage {before[0]} before "
            f"it does not; run stages=rl by itself when the others are done"
        )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() == "true"
