"""What is wrong with a run's options, told before anything is trained. No torch here."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rlhfkit.component import GROUPS
from rlhfkit.config.run import RunConfig
from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.user_code import UserCodeConfig


def check_options(config: Any, name: str = "") -> None:
    """Let each dataclass of the run's options that has `check(name)` refuse its values.

    config: the run's, or what stands in it as `name`. Raises `UserError` for the first value that
    is outside its meaning.
    """
    if is_dataclass(config) and hasattr(config, "check"):
        config.check(name)
    for key, part in _parts(config).items():
        check_options(part, f"{name}.{key}".lstrip("."))


def check_pretraining(context: Context, stages: list[str]) -> None:
    """`UserError` when one of the stages reads pretraining texts and no data source has any, or
    none that could be held out."""
    config = context.config
    if any("pretraining" in source.splits() for source in context.build_all("data").values()):
        if config.pretraining_eval_fraction and "evaluate" in stages:
            import_module("rlhfkit.data.sources").held_out_texts(
                context
            )  # it imports stages' libraries
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


def try_user_code(context: Context, groups: set[str]) -> None:
    """Call the user's own functions of these groups once with a made-up example: what they raise or
    return wrongly would else be seen after hours."""
    for group in (group for group in GROUPS if group.name in groups):
        chosen = getattr(context.config, group.name)
        for config in chosen.values() if group.many else [chosen]:
            if isinstance(config, UserCodeConfig):
                getattr(context.make(group.name, config), "try_out", lambda: None)()


def check_start(config: RunConfig) -> None:
    """Adapters of policy and reward model share a base."""
    start, base = config.stage.reward_model.start, config.model.path
    if "rl" not in config.stages or not hasattr(config.loader, "lora_r"):
        return
    if start is None or start == base or Path(start, "adapter_config.json").exists():
        return
    raise UserError(
        f"stage.reward_model.start={start}: another base than model.path={base} needs loader=full"
    )


def _parts(config: Any) -> Mapping[str, Any]:
    """The fields of a dataclass, or the components of a many-valued group."""
    if is_dataclass(config):
        return {item.name: getattr(config, item.name) for item in fields(config)}
    return config if isinstance(config, Mapping) else {}
