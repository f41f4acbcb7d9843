"""A component: one named choice of one config group, described without importing what it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cached_property
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Component:
    """What a plugin's hook returns: a Hydra option, its typed schema, its defaults and its factory.

    Only `config` is imported at start-up; the module named by `build` is imported on first use,
    so that heavy libraries stay out of `--help`.
    """

    name: str
    """The option's name: `kl=<name>` on the command line."""

    config: type
    """A dataclass with typed fields and defaults; its docstring is shown by `rlhfkit plugins`."""

    build: str
    """`"package.module:callable"`; called as `callable(config, context)`, returns the protocol's
    object."""

    @cached_property
    def factory(self) -> Callable[[Any, Any], Any]:
        """The callable named by `build`. Raises whatever importing it raises."""
        factory: Callable[[Any, Any], Any] = named(self.build)
        return factory


@dataclass(frozen=True)
class Command:
    """A first word of the command line: `rlhfkit NAME ARGUMENTS`."""

    name: str

    help: str
    """One line for `rlhfkit --help`."""

    run: str
    """`"package.module:callable"`, imported on first use and called as `callable(arguments,
    plugins)` with the words behind the name. It raises `UserError` for a user's mistake."""

    options: str | None = None
    """`"package.module:Dataclass"`, whose fields are its flags, for `rlhfkit help NAME`."""

    @property
    def function(self) -> Callable[[list[str], Any], None]:
        """The callable named by `run`. Raises whatever importing it raises."""
        function: Callable[[list[str], Any], None] = named(self.run)
        return function


def named(path: str) -> Any:
    """What `"package.module:attribute"` names."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


@dataclass
class NoOptions:
    """What most groups add."""


@dataclass
class RewardWeight:
    """What every reward function has beside its own options."""

    weight: float = 1.0
    """Factor of its scores in the sum of all rewards."""


@dataclass(frozen=True)
class Group:
    """One hook of components and the Hydra config group it fills."""

    hook: str
    """The hook's name in `rlhfkit.hookspecs`."""

    name: str
    """The config group: `<name>=<component>`."""

    many: bool = False
    """Whether several components may be chosen at once: `reward=reward_model,length`. Their
    options then stand under `<group>.<component>.<option>`."""

    extra: type = NoOptions
    """A dataclass of the options that the group adds to every component's."""

    def schema(self, component: Component) -> type:
        """The component's dataclass with the group's own fields, `name` first among them."""
        added: list[tuple[str, Any, Any]] = [("name", str, field(default=component.name))]
        added += [
            (item.name, item.type, field(default=item.default)) for item in fields(self.extra)
        ]
        schema = make_dataclass(
            component.config.__name__, added, bases=(component.config,), kw_only=True
        )
        schema.__doc__ = component.config.__doc__
        schema.__module__ = component.config.__module__
        return schema


GROUPS = (
    Group("data_sources", "data", many=True),
    Group("model_loaders", "loader"),
    Group("samplers", "sampler"),
    Group("labelers", "labeler"),
    Group("reward_functions", "reward", many=True, extra=RewardWeight),
    Group("policy_optimizers", "optimizer"),
    Group("kl_controllers", "kl"),
    Group("evaluators", "evaluator", many=True),
)
"""Every kind of component, in the order a run meets them."""
