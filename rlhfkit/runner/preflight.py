"""The checks before a run, one ordered list: `rlhfkit run` and `check` go through all of it, `plan`
through the options alone. Cheap ones stand first; all mistakes are told at once, a line each.

A check is a function of what is planned that yields a line per mistake, or raises `UserError` for
the only one it can find. No torch here: what reads data and models is imported where it is needed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from rlhfkit.component import GROUPS
from rlhfkit.config.run import RunConfig
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.distributed import processes
from rlhfkit.errors import Mistakes, UserError
from rlhfkit.runner.data_checks import (
    check_context_length,
    check_data,
    check_leaks,
    check_model,
    check_other_models,
    check_stored,
    check_validation,
)
from rlhfkit.runner.gates import gates_need_evaluation
from rlhfkit.runner.launcher_checks import plannable_stages
from rlhfkit.runner.needs import check_components, check_needs, check_round, check_start
from rlhfkit.runner.planned import Planned
from rlhfkit.user_code import UserCodeConfig

Check = Callable[[Planned], Iterable[str] | None]


def refuse_mistakes(planned: Planned, found: Sequence[str] = ()) -> None:
    """Go through the list, show what the data holds, and raise `UserError` with every mistake.

    found: mistakes that are known already.
    """
    with console.status("checking options, data and models"):
        mistakes = find_mistakes(planned, found)
    if planned.found:
        console.print(import_module("rlhfkit.data.survey").table(planned.found))
    for note in planned.notes:
        console.print(f"  {note}", style="yellow", markup=False, soft_wrap=True)
    refuse(mistakes)


def find_mistakes(planned: Planned, found: Sequence[str] = ()) -> list[str]:
    """A line per mistake, none twice: several checks may meet the same broken file."""
    lines = dict.fromkeys(found)
    for check in CHECKS:
        if check in WITHOUT_MISTAKES and lines:
            break
        try:
            for line in check(planned) or ():
                lines[line] = None
        except UserError as error:
            told = error.lines if isinstance(error, Mistakes) else [str(error)]
            lines |= dict.fromkeys(told)
        except Exception as error:
            if (provider := planned.context.plugins.provider_of(error)) is not None:
                error.add_note(f"(raised in {provider})")
            raise
    return [" ".join(line.split()) for line in lines]


def refuse(mistakes: Iterable[str]) -> None:
    """Raise a `UserError` of one or of several lines; nothing without mistakes."""
    lines = list(mistakes)
    if len(lines) > 1:
        raise Mistakes(lines)
    if lines:
        raise UserError(lines[0])


def check_options(config: Any, name: str = "") -> None:
    """Raise `UserError` for values outside their meaning.

    config: the run's, or what stands in it as `name`.
    """
    refuse(_option_mistakes(config, name))


def _options(planned: Planned) -> Iterator[str]:
    """Each dataclass of options that has `check(name)` refuses its values."""
    return _option_mistakes(planned.context.config)


def _option_mistakes(config: Any, name: str = "") -> Iterator[str]:
    if is_dataclass(config) and hasattr(config, "check"):
        try:
            config.check(name)
        except UserError as error:
            yield str(error)
    for key, part in _parts(config).items():
        yield from _option_mistakes(part, f"{name}.{key}".lstrip("."))


def _pretraining(planned: Planned) -> None:
    check_pretraining(planned.context, planned.names)


def check_pretraining(context: Context, stages: Sequence[str]) -> None:
    """`UserError` when one of the stages reads pretraining texts and no data source has any, or
    none that could be held out."""
    config = context.config
    if any("pretraining" in source.splits() for source in context.build_all("data").values()):
        if config.pretraining_eval_fraction and "evaluate" in stages:
            import_module("rlhfkit.data.sources").held_out_texts(context)
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


def _user_code(planned: Planned) -> Iterator[str]:
    options = vars(planned.context.config.stage)
    groups = {name for stage in planned.waiting for name in stage.groups_with(options[stage.name])}
    for group in sorted(groups):
        try:
            try_user_code(planned.context, {group})
        except UserError as error:
            yield str(error)


def try_user_code(context: Context, groups: set[str]) -> None:
    """Call the user's own functions of these groups once with a made-up example: what they raise or
    return wrongly would else be seen after hours."""
    for group in (group for group in GROUPS if group.name in groups):
        chosen = getattr(context.config, group.name)
        for config in chosen.values() if group.many else [chosen]:
            if isinstance(config, UserCodeConfig):
                getattr(context.make(group.name, config), "try_out", lambda: None)()


def _memory(planned: Planned) -> None:
    """What will not fit the card, before anything is loaded."""
    counted = plannable_stages(planned.waiting)
    config: RunConfig = planned.context.config
    with processes.single_process():
        card = import_module("rlhfkit.planning.card").card_of(config) if counted else None
        if card is not None:  # the planner imports all of the stages' libraries
            planning = import_module("rlhfkit.planning.command")
            planning.refuse_misfit(planned.context, card, counted)


def _parts(config: Any) -> Mapping[str, Any]:
    """The fields of a dataclass, or the components of a many-valued group."""
    if is_dataclass(config):
        return {item.name: getattr(config, item.name) for item in fields(config)}
    return config if isinstance(config, Mapping) else {}


CHECKS: tuple[Check, ...] = (
    # the options by themselves
    _options,
    check_start,
    check_round,
    # what stages need: nothing is read yet
    check_needs,
    gates_need_evaluation,
    check_components,
    check_stored,
    # models and data
    check_model,
    check_other_models,
    _pretraining,
    check_data,
    check_validation,
    check_leaks,
    check_context_length,
    _user_code,
    # the stages' own code on fake tensors
    _memory,
)
"""In the order they are made."""

WITHOUT_MISTAKES: tuple[Check, ...] = (_memory,)
"""Checks that take long and say nothing of a run with mistakes."""
