"""What is wrong with a run's options, told before anything is trained. No torch here."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rlhfkit.config import RunConfig
from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.online_config import OnlineConfig
from rlhfkit.stage_configs import EvaluateConfig


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
OF_A_RUN = ("sft", "base", "rl", "prompted")
"""What evaluate calls the run's own policies."""

ROLES = ("user", "assistant", "system")
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
    _check_opponents(config.stage.evaluate)
    _check_few_shot(config.stage.evaluate.few_shot)
    for run in config.stage.report.runs:
        if not Path(run).is_dir():
            raise UserError(f"stage.report.runs: {run}: no such directory")


def check_pretraining(context: Context, stages: list[str]) -> None:
    """`UserError` when one of the stages mixes pretraining texts in and no data source has any."""
    if any("pretraining" in source.splits() for source in context.build_all("data").values()):
        return
    config = context.config
    wanted = {
        "stage.sft.pretraining_fraction": config.stage.sft.pretraining_fraction,
        "stage.rl_sft.pretraining_fraction": config.stage.rl_sft.pretraining_fraction,
        "optimizer.ptx_coef": getattr(config.optimizer, "ptx_coef", 0),
    }
    for stage, (option, share) in zip(("sft", "rl_sft", "rl"), wanted.items(), strict=True):
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


def _check_opponents(config: EvaluateConfig) -> None:
    """Names of their own, and paths that are there: a hub name has one slash at most."""
    for name, path in config.opponents.items():
        option = f"stage.evaluate.opponents.{name}"
        if name in OF_A_RUN:
            raise UserError(f"{option}: the run has a policy of that name; choose another")
        if path is not None and path.count("/") > 1 and not Path(path).is_dir():
            raise UserError(f"{option}={path}: no such directory")


def _check_few_shot(turns: list[dict[str, str]]) -> None:
    """Whole messages; a prompt follows, so the last is not the user's."""
    for turn in turns:
        if turn.keys() != {"role", "content"} or turn["role"] not in ROLES:
            raise UserError(
                f"stage.evaluate.few_shot: {turn} must have a role ({', '.join(ROLES)}) and content"
            )
    if turns and turns[-1]["role"] == "user":
        raise UserError("stage.evaluate.few_shot: the last message is the user's; add its answer")
