"""What the stages that are to run need of the data, of earlier stages and of other models, told
before the first of them trains. Nothing is read here but which splits the data gives."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rlhfkit.component import GROUPS
from rlhfkit.config.online import OnlineConfig
from rlhfkit.config.stages import LAST
from rlhfkit.errors import Mistakes, UserError
from rlhfkit.reporting import toy_tastes
from rlhfkit.runner.planned import Planned
from rlhfkit.types import Split

RUN_MODELS = ("sft", "rl_sft", "rl")
"""Stages whose model another stage may be told to load by the stage's name."""

_FALL_BACK = ("sft", "rl_sft", "reward_model")
"""Stages that an optimizer can do without: it starts from the base and with a fresh value head."""

_LIGHT = ("sampler", "optimizer", "kl")
"""Groups whose components load no model when they are built."""


TOY_TASTES = (
    "labeler=simulated: your data is judged by a few rules that were written for the quickstart's "
    "prompts, not by people; take labeler=imported, labeler=reward_model or labeler=FILE.py:NAME"
)


def check_needs(planned: Planned) -> Iterator[str]:
    """A line for everything that a stage would miss."""
    for stage in planned.waiting:
        if stage.name in NEEDS:
            yield from NEEDS[stage.name](planned) or ()


def check_components(planned: Planned) -> Iterator[str]:
    """What the chosen components say of the run: of those that have `check_run(config, context)`,
    and of those that load no model when they are built."""
    groups = {name for stage in planned.waiting for name in stage.option_groups}
    context = planned.context
    for group in (group for group in GROUPS if group.name in groups):
        chosen = getattr(context.config, group.name)
        for config in chosen.values() if group.many else [chosen]:
            factory = context.factory(group.name, config)
            try:
                if hasattr(factory, "check_run"):
                    factory.check_run(config, context)
                if group.name in _LIGHT and (group.name != "kl" or planned.online):
                    factory(config, context)
            except UserError as error:
                yield from error.lines if isinstance(error, Mistakes) else [str(error)]


def check_start(planned: Planned) -> Iterator[str]:
    """Adapters of policy and reward model share a base."""
    config = planned.context.config
    start, base = config.stage.reward_model.start, config.model.path
    if "rl" not in config.stages or not hasattr(config.loader, "lora_r"):
        return
    if start is None or start == base or Path(start, "adapter_config.json").exists():
        return
    yield f"stage.reward_model.start={start}: another base than model.path={base} needs loader=full"


def check_round(planned: Planned) -> Iterator[str]:
    """What a round needs of those before it."""
    config = planned.context.config
    earlier = planned.context.earlier_rounds
    for number, run in enumerate(earlier, start=1):
        for name in ("label", "rl"):
            record = run.record(name)
            if record is None:
                yield (
                    f"round={config.round} goes on from round {number}: stage {name} of "
                    f"{run.root} is not complete"
                )
            elif record.settings.get("model.path", config.model.path) != config.model.path:
                yield (
                    f"round={config.round}: round {number} had model.path="
                    f"{record.settings['model.path']}, this one has {config.model.path}"
                )
    known = [f"round{number}" for number in range(1, len(earlier) + 1)]
    for name in config.stage.sample.round_models if earlier else ():
        if re.fullmatch(r"round\d+", name) and name not in known:
            yield f"stage.sample.round_models: no '{name}' before round={config.round}"


def _sft(planned: Planned, stage: str = "sft") -> Iterator[str]:
    if not planned.gives("demonstrations"):
        yield f"stage {stage} needs demonstrations: give data.<source>.demonstrations"
    if getattr(planned.context.config.stage, stage).select_by != "reward":
        return
    option, rewards = f"stage.{stage}.select_by=reward", planned.context.config.reward
    if not rewards:
        yield f"{option}: reward=[] has none to ask; take reward=[length] or another"
    for name, entry in rewards.items():
        if any(not planned.has(needed, stage) for needed in getattr(entry, "reads", ())):
            yield (
                f"{option}: reward={name} must be there before stage {stage}: name one with "
                f"reward.{name}.path=DIR"
            )


def _rl_sft(planned: Planned) -> Iterator[str]:
    yield from _sft(planned, "rl_sft")


def _sample(planned: Planned) -> Iterator[str]:
    yield from _prompts(planned, "sample")
    config = planned.context.config
    models = config.stage.sample.models_of(config.round)
    option = "stage.sample.models" if config.round == 1 else "stage.sample.round_models"
    for name in models:
        if name in RUN_MODELS and not planned.has(name, "sample"):
            yield (
                f"{option}={models} needs the model of stage {name}: "
                f"{_let(name, 'sample')}, or take {option}=[base]"
            )


def _label(planned: Planned) -> Iterator[str]:
    _note_toy_tastes(planned)
    labeler, own = planned.context.config.labeler, planned.gives("rankings")
    if planned.imports_rankings:
        return  # reading them is what checks them
    if not planned.has("sample", "label"):
        instead = f"; you gave {own}: labeler=imported takes them" if own else ""
        yield f"stage label needs completions to rank: {_let('sample', 'label')}{instead}"
    elif own:
        planned.notes.append(
            f"{own} is not read: labeler={labeler.name} ranks what the stage sample draws; "
            f"labeler=imported takes yours"
        )


def _reward_model(planned: Planned) -> Iterator[str]:
    if not planned.has("label", "reward_model"):
        yield f"stage reward_model needs rankings: {_let_label(planned, 'reward_model')}"


def _rl(planned: Planned) -> Iterator[str]:
    optimizer = planned.context.config.optimizer
    needs = planned.context.factory("optimizer", optimizer).needs
    for name in needs:
        if name not in _FALL_BACK and not planned.has(name, "rl"):
            let = _let_label(planned, "rl") if name == "label" else _let(name, "rl")
            yield f"optimizer={optimizer.name} needs the result of stage {name}: {let}"
    if planned.online:
        yield from _prompts(planned, "rl")
        yield from _rewards(planned)
    judge = planned.context.config.stage.rl.select_by
    if judge != LAST and not isinstance(optimizer, OnlineConfig):
        yield (
            f"stage.rl.select_by={judge}: optimizer={optimizer.name} has a trainer of its own, "
            f"which keeps its last policy; take optimizer=ppo, rloo, grpo or reinforce_pp"
        )


def _evaluate(planned: Planned) -> Iterator[str]:
    if "win_rate" in planned.context.config.evaluator:
        _note_toy_tastes(planned)
    yield from _prompts(planned, "evaluate", "eval_prompts")
    config = planned.context.config
    if not config.evaluator:
        yield "evaluator=[]: stage evaluate has nothing to measure; take evaluator=[win_rate]"
    options = config.stage.evaluate
    policies = [*options.few_shot, *filter(None, options.opponents.values())]
    if not policies and not any(planned.has(name, "evaluate") for name in ("sft", "rl")):
        yield (
            "stage evaluate has nothing to compare with the base model: let a stage train one "
            "first, as in stages=[sft,evaluate], or name one with "
            "stage.evaluate.opponents.NAME=DIR"
        )


def _note_toy_tastes(planned: Planned) -> None:
    config = planned.context.config
    if toy_tastes(config.labeler.name, config.data) and TOY_TASTES not in planned.notes:
        planned.notes.append(TOY_TASTES)


def _report(planned: Planned) -> None:
    if not planned.complete and [stage.name for stage in planned.waiting] == ["report"]:
        root = planned.context.run_dir.root
        planned.notes.append(f"the report will be empty: no stage of {root} is complete")


def _prompts(planned: Planned, stage: str, split: Split = "prompts") -> Iterator[str]:
    places: tuple[Split, ...] = (split, "prompts", "demonstrations")
    if not any(map(planned.gives, places)):
        yield (
            f"stage {stage} needs prompts: give data.<source>.{split}, or demonstrations to take "
            f"them from"
        )


def _rewards(planned: Planned) -> Iterator[str]:
    """Reward functions that ask a model of this run while RL trains."""
    for name, entry in planned.context.config.reward.items():
        for needed in getattr(entry, "reads", ()):
            if not planned.has(needed, "rl"):
                yield (
                    f"reward={name}: stage rl needs the model of stage {needed}: "
                    f"{_let(needed, 'rl')}, or name another with reward.{name}.path=DIR"
                )


def _let(name: str, stage: str) -> str:
    return f"let the stage '{name}' run first, as in stages=[{name},{stage}]"


def _let_label(planned: Planned, stage: str) -> str:
    own = planned.gives("rankings")
    takes = f" labeler=imported, which takes {own}" if own and not planned.imports_rankings else ""
    return _let("label", stage) + takes


NEEDS: Mapping[str, Callable[[Planned], Iterator[str] | None]] = {
    "sft": _sft,
    "rl_sft": _rl_sft,
    "sample": _sample,
    "label": _label,
    "reward_model": _reward_model,
    "rl": _rl,
    "evaluate": _evaluate,
    "report": _report,
}
"""By stage; what a plugin's stage needs is not known."""
