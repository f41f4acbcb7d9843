"""The stages of a run, in order; each module has one `run(context)`, imported on first use."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Split


@dataclass(frozen=True)
class Stage:
    """What the runner must know of a stage without importing it."""

    name: str

    option_groups: tuple[str, ...]
    """Top-level options its results depend on, `stage.<name>` apart."""

    splits: tuple[Split, ...] = ()
    """Data splits it reads."""

    reads: tuple[str, ...] = ()
    """Earlier stages whose results it reads, when they are part of the run."""

    main_process_only: bool = False
    """Whether of several processes the main one runs it by itself: it has no models."""

    def groups_with(self, options: Any) -> tuple[str, ...]:
        """`option_groups`, and what an SFT model is chosen by: its answers. options:
        `stage.<name>`."""
        by_reward = getattr(options, "select_by", None) == "reward"
        return (*self.option_groups, "sampler", "reward") if by_reward else self.option_groups

    def run(self, context: Any) -> None:
        """Run the stage's module; every stage starts from the run's seed, whatever ran before."""
        from accelerate.utils import set_seed

        set_seed(context.config.seed)
        import_module(f"rlhfkit.stages.{self.name}").run(context)


_MODELS = ("seed", "model", "loader")

STAGES = (
    Stage(
        "prepare",
        ("seed", "model"),
        ("demonstrations", "prompts", "eval_prompts", "rankings"),
        main_process_only=True,
    ),
    Stage(
        "sft",
        (*_MODELS, "eval_fraction", "pretraining_eval_fraction"),
        ("demonstrations", "prompts", "pretraining"),
        ("prepare",),
    ),
    Stage(
        "rl_sft",
        (*_MODELS, "eval_fraction", "pretraining_eval_fraction"),
        ("demonstrations", "prompts", "pretraining"),
        ("prepare",),
    ),
    Stage(
        "sample",
        (*_MODELS, "sampler", "eval_fraction"),
        ("prompts",),
        ("prepare", "sft", "rl_sft"),
    ),
    Stage(
        "label",
        ("seed", "labeler", "eval_fraction"),
        ("rankings", "prompts"),
        ("prepare", "sample"),
    ),
    Stage(
        "reward_model",
        (*_MODELS, "eval_fraction"),
        ("demonstrations", "prompts"),
        ("prepare", "sft", "label"),
    ),
    Stage(
        "rl",
        (
            *_MODELS,
            "sampler",
            "reward",
            "optimizer",
            "kl",
            "eval_fraction",
            "pretraining_eval_fraction",
        ),
        ("prompts", "pretraining"),
        ("prepare", "sft", "rl_sft", "label", "reward_model"),
    ),
    Stage(
        "evaluate",
        (
            *_MODELS,
            "sampler",
            "labeler",
            "evaluator",
            "reward",
            "eval_fraction",
            "pretraining_eval_fraction",
        ),
        ("prompts", "eval_prompts", "pretraining"),
        ("prepare", "sft", "reward_model", "rl"),
    ),
    Stage(
        "report",
        (),
        (),
        ("prepare", "sft", "rl_sft", "sample", "label", "reward_model", "rl", "evaluate"),
        main_process_only=True,
    ),
)

_BY_NAME = {stage.name: stage for stage in STAGES}


def find_stage(name: str) -> Stage:
    """The stage of a name; `UserError` with the nearest names when there is none."""
    if name not in _BY_NAME:
        raise UserError(f"no stage '{name}'; {nearest(name, _BY_NAME)}")
    return _BY_NAME[name]
