"""What is wrong with a run's options, told before anything is trained. No torch here."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, NamedTuple

from rlhfkit.config import RunConfig
from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.online_config import OnlineConfig


class Rule(NamedTuple):
    """What a value must be, and the words for it."""

    holds: Callable[[Any], bool]
    words: str


POSITIVE = Rule(lambda value: value > 0, "must be positive")
NOT_NEGATIVE = Rule(lambda value: value >= 0, "must not be negative")
SHARE = Rule(lambda value: 0 <= value <= 1, "must be from 0 to 1")
BELOW_1 = Rule(lambda value: 0 <= value < 1, "must be at least 0 and below 1")
K = Rule(
    lambda value: 2 <= value <= 16,
    "K must be from 2 to 16, a ranking needs at least two completions",
)

RULES = {
    **dict.fromkeys(
        ("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
         "total_episodes", "batch_size", "micro_batch_size", "reward_clip", "num_completions",
         "cliprange", "cliprange_value", "num_ppo_epochs", "num_mini_batches", "ptx_batch_size",
         "ptx_per_episode", "ptx_length", "pretraining_length", "max_completion_length"),
        POSITIVE,
    ),
    **dict.fromkeys(
        ("learning_rate", "value_learning_rate", "weight_decay", "max_grad_norm", "warmup_steps",
         "warmup_iterations", "critic_warmup", "vf_coef", "ptx_coef", "normalise_on"),
        NOT_NEGATIVE,
    ),
    **dict.fromkeys(("gamma", "lam"), SHARE),
    **dict.fromkeys(
        ("adam_beta1", "adam_beta2", "ema_decay", "residual_dropout", "min_lr_rate",
         "pretraining_fraction", "validation_fraction"),
        BELOW_1,
    ),
    "stage.sample.num_completions": K,
}  # fmt: skip
"""By an option's last name, or by its whole name where that has a rule of its own; null is none."""

SELECT_BY = ("last", "loss", "reward")
SCHEDULES = ("constant", "linear")
"""Of the shared loop's optimizers; trainers have transformers' own."""


def check_options(config: RunConfig) -> None:
    """`UserError` for the first value of stages and optimizer that is outside its meaning."""
    for name, value in _options(config):
        last = name.rpartition(".")[2]
        rule = RULES.get(name) or RULES.get(last)
        if rule is not None and value is not None and not rule.holds(value):
            raise UserError(f"{name}={value}: {rule.words}")
        if last == "select_by" and value not in SELECT_BY:
            raise UserError(f"{name}={value}: {nearest(value, SELECT_BY)}")
    _check_schedules(config)
    held_out = config.pretraining_eval_fraction
    if not BELOW_1.holds(held_out):
        raise UserError(f"pretraining_eval_fraction={held_out}: {BELOW_1.words}")
    if "pretraining_loss" in config.evaluator and not held_out:
        raise UserError(
            "evaluator=pretraining_loss needs texts that nothing is trained on: add "
            "pretraining_eval_fraction=0.1"
        )


def check_pretraining(context: Context, stages: list[str]) -> None:
    """`UserError` when one of the stages reads pretraining texts and no data source has any, or
    none that could be held out."""
    config = context.config
    if any("pretraining" in source.splits() for source in context.build_all("data").values()):
        if config.pretraining_eval_fraction and "evaluate" in stages:
            import_module("rlhfkit.data").held_out_texts(context)  # it imports stages' libraries
        return
    wanted = {
        "stage.sft.pretraining_fraction": config.stage.sft.pretraining_fraction,
        "stage.rl_sft.pretraining_fraction": config.stage.rl_sft.pretraining_fraction,
        "optimizer.ptx_coef": getattr(config.optimizer, "ptx_coef", 0),
        "pretraining_eval_fraction": config.pretraining_eval_fraction,
    }
    readers = ("sft", "rl_sft", "rl", "evaluate")
    for stage, (option, share) in zip(readers, wanted.items(), strict=True):
        if stage in stages and share:
            raise UserError(
                f"{option}={share} needs pretraining texts: give data.<source>.pretraining"
            )


def _options(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """Names and values of the stages' options and the optimizer's."""
    parts = {
        f"stage.{item.name}": getattr(config.stage, item.name) for item in fields(config.stage)
    }
    for prefix, part in {**parts, "optimizer": config.optimizer}.items():
        if is_dataclass(part):
            for item in fields(part):
                yield f"{prefix}.{item.name}", getattr(part, item.name)


def _check_schedules(config: RunConfig) -> None:
    """RL has two of its own; a floor is a cosine's."""
    optimizer = config.optimizer
    if isinstance(optimizer, OnlineConfig) and optimizer.lr_scheduler_type not in SCHEDULES:
        kind = optimizer.lr_scheduler_type
        raise UserError(f"optimizer.lr_scheduler_type={kind}: {nearest(kind, SCHEDULES)}")
    for stage in ("sft", "rl_sft", "reward_model"):
        options = getattr(config.stage, stage)
        if options.min_lr_rate and options.lr_scheduler_type != "cosine":
            raise UserError(
                f"stage.{stage}.min_lr_rate={options.min_lr_rate}: needs "
                f"stage.{stage}.lr_scheduler_type=cosine, not {options.lr_scheduler_type}"
            )
