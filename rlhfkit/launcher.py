"""What `accelerate launch` is asked for beyond plain processes, and what of it works. No torch."""

import os

from rlhfkit import processes
from rlhfkit.config import RunConfig
from rlhfkit.errors import UserError
from rlhfkit.online_config import OnlineConfig

_TRAINERS = ("sft", "rl_sft", "reward_model")

SHARDED = (*_TRAINERS, "rl")
"""Stages whose models FSDP2 shards."""

_OURS = "RLHFKIT_FSDP"
"""Environment variable: this project shards, and accelerate is not to."""

_OPTIONS = {
    "fsdp_version": "2",
    "fsdp_offload_params": "false",
    "fsdp_activation_checkpointing": "false",
}
"""The only values of a config file's fsdp_config that work here; the rest is of no consequence."""

_OPTIMS = ("adamw_torch", "adamw_torch_fused")

_PLAIN = "launch with conf/accelerate/ddp_2gpu.yaml"


def wants_sharding() -> bool:
    """Whether models are to be sharded."""
    return processes.count() > 1 and _is_set(_OURS)


def planned(stages: list[str]) -> list[str]:
    """The stages whose memory the planner knows: it counts whole models."""
    return [stage for stage in stages if stage not in SHARDED or not wants_sharding()]


def check_launcher(config: RunConfig) -> None:
    """Take FSDP over from accelerate. Raises `UserError` for what would not work, before anything
    is loaded."""
    if processes.under_deepspeed():
        _check_deepspeed(config)
    if _is_set("ACCELERATE_USE_FSDP"):
        os.environ[_OURS] = os.environ.pop("ACCELERATE_USE_FSDP")
    if wants_sharding():
        _check_fsdp(config)


def _check_fsdp(config: RunConfig) -> None:
    for option, works in _OPTIONS.items():
        value = os.environ.get(option.upper(), works)
        if value.lower() != works:
            raise UserError(f"fsdp_config.{option}={value}: only {works} works with rlhfkit")
    if config.loader.name == "qlora":
        raise UserError(f"FSDP: loader=qlora is not sharded; {_PLAIN}, or take loader=lora")
    if "rl" in config.stages:
        _check_rl(config)
    for stage in (stage for stage in SHARDED if stage in config.stages):
        in_rl = stage == "rl"
        option = "optimizer.optim" if in_rl else f"stage.{stage}.optim"
        optim = config.optimizer.optim if in_rl else getattr(config.stage, stage).optim
        if optim not in _OPTIMS:
            raise UserError(f"FSDP: {option}={optim} is not sharded; choices: {', '.join(_OPTIMS)}")


def _check_rl(config: RunConfig) -> None:
    """Four whole models in shares; adapters have one base, which DDP keeps once a card as well."""
    optimizer, size = config.optimizer, config.stage.rl.batch_size
    if not isinstance(optimizer, OnlineConfig):
        raise UserError(f"FSDP: optimizer={optimizer.name} is TRL's own and not sharded; {_PLAIN}")
    if config.loader.name != "full":
        raise UserError(f"FSDP: stage rl shards loader=full, not {config.loader.name}; {_PLAIN}")
    if config.loader.offload_idle:
        raise UserError("FSDP: loader.offload_idle=true: models in shares do not leave the device")
    mini = -(-size // optimizer.num_mini_batches)
    sizes = {
        "stage.rl.batch_size": size,
        "stage.rl.batch_size / optimizer.num_mini_batches": mini,
    }
    if optimizer.ptx_coef and optimizer.ptx_per_episode is None:
        sizes["optimizer.ptx_batch_size"] = optimizer.ptx_batch_size
    for option, rows in sizes.items():
        if rows % processes.count():
            raise UserError(
                f"FSDP: {option}={rows} is no multiple of {processes.count()} processes"
            )


def _check_deepspeed(config: RunConfig) -> None:
    """These stages sum gradients themselves, which DeepSpeed's engine does too."""
    if _is_set("ACCELERATE_USE_CPU"):
        raise UserError(
            "DeepSpeed: with ACCELERATE_USE_CPU=true accelerate leaves it out without a word; "
            "CUDA_VISIBLE_DEVICES= keeps it off the GPUs"
        )
    online = isinstance(config.optimizer, OnlineConfig)
    for stage in config.stages:
        if stage in _TRAINERS or (stage == "rl" and online):
            raise UserError(
                f"DeepSpeed: stage {stage} does not run under it, TRL's own trainers do "
                f"(optimizer=dpo, trl_grpo or trl_rloo); {_PLAIN} or conf/accelerate/fsdp2.yaml"
            )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() == "true"
