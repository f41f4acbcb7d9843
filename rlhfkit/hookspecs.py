"""Every hook, in the order a run meets them: the reference manual for plugin authors.

A plugin is a module named by an entry point of the group `rlhfkit`:

    [project.entry-points.rlhfkit]
    my_plugin = "my_package.plugin"

and a hook is a function of that module, marked with `rlhfkit.hookimpl` and named as here. The
module is imported whenever `rlhfkit` starts: keep torch out of it and name heavy code by
`Component.build`. Implementations may leave out parameters they do not need.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

from rlhfkit.component import Command, Component
from rlhfkit.stage import Stage

if TYPE_CHECKING:
    from rlhfkit.context import Context

hookspec = pluggy.HookspecMarker("rlhfkit")

# ---------------------------------------------------------------------------------------------
# Components: each hook returns the choices it adds to one config group.
# Called once at start-up; the results of all plugins are joined. Two plugins that claim one
# name are an error.
# ---------------------------------------------------------------------------------------------


@hookspec
def data_sources() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `data=`: build gives a `rlhfkit.protocols.DataSource`."""


@hookspec
def model_loaders() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `loader=`: build gives a `rlhfkit.protocols.ModelLoader`."""


@hookspec
def samplers() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `sampler=`: build gives a `rlhfkit.protocols.Sampler`."""


@hookspec
def labelers() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `labeler=`: build gives a `rlhfkit.protocols.Labeler`."""


@hookspec
def reward_functions() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `reward=`: build gives a `rlhfkit.protocols.RewardFunction`."""


@hookspec
def policy_optimizers() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `optimizer=`: build gives a `rlhfkit.protocols.PolicyOptimizer`."""


@hookspec
def kl_controllers() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `kl=`: build gives a `rlhfkit.protocols.KLController`."""


@hookspec
def evaluators() -> Sequence[Component]:  # type: ignore[empty-body]
    """Choices of `evaluator=`: build gives a `rlhfkit.protocols.Evaluator`."""


# ---------------------------------------------------------------------------------------------
# Stages
# ---------------------------------------------------------------------------------------------


@hookspec
def stages() -> Sequence[Stage]:  # type: ignore[empty-body]
    """Stages beside the built-in ones: `stages=[...,NAME]`, with options under `stage.NAME`.

    Called once at start-up. A name that is taken is an error.
    """


# ---------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------


@hookspec
def commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Words of the command line: `rlhfkit NAME ARGUMENTS` beside `run`, `plan` and the others.

    Called once at start-up. A name that is taken is an error.
    """


# ---------------------------------------------------------------------------------------------
# Resources
# ---------------------------------------------------------------------------------------------


@hookspec
def config_packages() -> Sequence[str]:  # type: ignore[empty-body]
    """Python packages whose YAML files join Hydra's search path.

    A package `my_package.conf` with `recipe/mine.yaml` (and an `__init__.py` in its root) gives
    `recipe=mine`. Called once at start-up, before composing.
    """


@hookspec(firstresult=True)
def resolve_model(path: str) -> str | None:
    """A local directory for the model named `path`, or None to leave it to others.

    Called before a model or tokenizer is loaded, unless `path` is a directory already; the first
    plugin that answers wins, and when none does, transformers asks its hub.

    path: the value of `model.path`.
    """


# ---------------------------------------------------------------------------------------------
# Lifecycle: for observers (trackers, notifications). What they return is ignored.
# ---------------------------------------------------------------------------------------------


@hookspec
def stage_started(stage: str, context: "Context") -> None:
    """Before a stage runs; not called for one that is skipped.

    stage: its name. context: the configuration, run directory and components.
    """


@hookspec
def metrics_logged(stage: str, step: int, metrics: Mapping[str, float]) -> None:
    """Whenever a stage logs numbers, after they were written to its metrics.jsonl.

    stage: its name. step: of the stage's own counter. metrics: by name.
    """


@hookspec
def stage_finished(stage: str, context: "Context", seconds: float) -> None:
    """After a stage was recorded as complete.

    stage: its name. context: as for `stage_started`. seconds: how long it ran.
    """


@hookspec
def stage_failed(stage: str, context: "Context", error: BaseException) -> None:
    """When a stage ends by an exception, before the exception goes on.

    stage: its name. context: as for `stage_started`. error: what was raised.
    """
