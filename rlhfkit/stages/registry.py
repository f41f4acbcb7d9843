"""The built-in stages in order, and where the stages of plugins stand among them."""

from collections.abc import Sequence

from rlhfkit.config import stages as options
from rlhfkit.config.prepare import PrepareConfig
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stage import Stage

_MODELS = ("seed", "model", "loader")
_HELD_OUT = ("eval_fraction", "pretraining_eval_fraction")

STAGES = (
    Stage(
        "prepare",
        PrepareConfig,
        "rlhfkit.stages.prepare:run",
        option_groups=("seed", "model"),
        splits=("demonstrations", "prompts", "eval_prompts", "rankings"),
        describe="rlhfkit.stages.summaries:prepare",
        main_process_only=True,
    ),
    Stage(
        "sft",
        options.SftConfig,
        "rlhfkit.stages.sft:run",
        option_groups=(*_MODELS, *_HELD_OUT),
        splits=("demonstrations", "prompts", "pretraining"),
        reads=("prepare",),
        describe="rlhfkit.stages.summaries:sft",
        planned_as="sft",
        shardable=True,
    ),
    Stage(
        "rl_sft",
        options.RlSftConfig,
        "rlhfkit.stages.rl_sft:run",
        option_groups=(*_MODELS, *_HELD_OUT),
        splits=("demonstrations", "prompts", "pretraining"),
        reads=("prepare",),
        describe="rlhfkit.stages.summaries:sft",
        planned_as="rl_sft",
        shardable=True,
    ),
    Stage(
        "sample",
        options.SampleConfig,
        "rlhfkit.stages.sample:run",
        option_groups=(*_MODELS, "sampler", "eval_fraction", "ranked_fraction"),
        splits=("prompts",),
        reads=("prepare", "sft", "rl_sft"),
        reads_earlier=("sample", "rl", "evaluate"),
        describe="rlhfkit.stages.summaries:sample",
        planned_as="sample",
    ),
    Stage(
        "label",
        options.LabelConfig,
        "rlhfkit.stages.label:run",
        option_groups=("seed", "labeler", "eval_fraction"),
        splits=("rankings", "prompts"),
        reads=("prepare", "sample"),
        describe="rlhfkit.stages.summaries:label",
    ),
    Stage(
        "reward_model",
        options.RewardModelConfig,
        "rlhfkit.stages.reward_model:run",
        option_groups=(*_MODELS, "eval_fraction"),
        splits=("demonstrations", "prompts"),
        reads=("prepare", "sft", "label"),
        reads_earlier=("label",),
        describe="rlhfkit.stages.summaries:reward_model",
        planned_as="reward_model",
        shardable=True,
    ),
    Stage(
        "rl",
        options.RlConfig,
        "rlhfkit.stages.rl:run",
        option_groups=(
            *_MODELS,
            "sampler",
            "reward",
            "optimizer",
            "kl",
            *_HELD_OUT,
            "ranked_fraction",
        ),
        splits=("prompts", "pretraining"),
        reads=("prepare", "sft", "rl_sft", "label", "reward_model"),
        reads_earlier=("label",),
        describe="rlhfkit.stages.summaries:rl",
        planned_as="rl",
        shardable=True,
    ),
    Stage(
        "evaluate",
        options.EvaluateConfig,
        "rlhfkit.stages.evaluate:run",
        option_groups=(*_MODELS, "sampler", "labeler", "evaluator", "reward", *_HELD_OUT),
        splits=("prompts", "eval_prompts", "pretraining"),
        reads=("prepare", "sft", "reward_model", "rl"),
        describe="rlhfkit.stages.summaries:evaluate",
        planned_as="evaluate",
    ),
    Stage(
        "report",
        options.ReportConfig,
        "rlhfkit.stages.report:run",
        reads=("prepare", "sft", "rl_sft", "sample", "label", "reward_model", "rl", "evaluate"),
        main_process_only=True,
    ),
)


def stages_of(plugins: Plugins) -> tuple[Stage, ...]:
    """Every stage in the order they run. Raises `UserError` for a plugin's stage that takes a
    built-in one's name or stands behind one that there is not."""
    stages = list(STAGES)
    for name, added in plugins.stages.items():
        if name in {stage.name for stage in STAGES}:
            raise UserError(f"stages={name}: a plugin claims a stage of rlhfkit's own")
        where = stages.index(find_stage(added.after, stages)) + 1 if added.after else len(stages)
        stages.insert(where, added)
    return tuple(stages)


def find_stage(name: str, stages: Sequence[Stage] = STAGES) -> Stage:
    """The stage of a name; `UserError` with the nearest names when there is none."""
    by_name = {stage.name: stage for stage in stages}
    if name not in by_name:
        raise UserError(f"no stage '{name}'; {nearest(name, by_name)}")
    return by_name[name]
