"""Finds plugins by their entry points, checks them, and answers which component a name means."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import walk_tb
from typing import Any

import pluggy

from rlhfkit import hookspecs
from rlhfkit.component import GROUPS, Command, Component, Group
from rlhfkit.errors import UserError, nearest
from rlhfkit.stage import Stage

ENTRY_POINT_GROUP = "rlhfkit"
RESTRICT_VARIABLE = "RLHFKIT_PLUGINS"
"""Environment variable: a comma-separated list of entry points; only those are loaded."""


@dataclass(frozen=True)
class Provider:
    """Where a plugin comes from, for messages and records."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (plugin '{self.plugin}')"


@dataclass(frozen=True)
class Provided:
    """A component and who provides it."""

    component: Component
    provider: Provider


@dataclass
class Plugins:
    """The loaded plugins: their hooks, and their components by group and name."""

    manager: pluggy.PluginManager
    providers: dict[str, Provider] = field(default_factory=dict)
    components: dict[str, dict[str, Provided]] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    """Those of plugins; `rlhfkit.stages.registry.stages_of` has all of them in order."""

    @property
    def hook(self) -> Any:
        """pluggy's hook relay: `plugins.hook.stage_started(stage=..., context=...)`."""
        return self.manager.hook

    def find(self, group: Group, name: str) -> Provided:
        """The component `name` of a group; `UserError` with the nearest names if there is none."""
        known = self.components[group.name]
        if name not in known:
            raise UserError(f"{group.name}={name}: no such component; {nearest(name, known)}")
        return known[name]

    def provider_of(self, error: BaseException) -> Provider | None:
        """Who wrote the code that an error was raised in, or called; None where it is rlhfkit's
        alone. Of several plugins the one that was called last."""
        raised_in = [Path(frame.f_code.co_filename) for frame, _ in walk_tb(error.__traceback__)]
        places = {
            _place(self.manager.get_plugin(name)): provider
            for name, provider in self.providers.items()
            if provider.distribution != "rlhfkit"
        }
        for file in reversed(raised_in):
            for place, provider in places.items():
                if place is not None and file.is_relative_to(place):
                    return provider
        return None

    def config_packages(self) -> list[str]:
        """The packages that plugins add to Hydra's search path."""
        return [package for result in self.hook.config_packages() for package in result]


def load_plugins(found: Iterable[EntryPoint] | None = None) -> Plugins:
    """Load every installed plugin (or those given). Raises `UserError` naming the faulty one."""
    plugins = Plugins(pluggy.PluginManager("rlhfkit"))
    plugins.manager.add_hookspecs(hookspecs)
    for entry_point in entry_points(group=ENTRY_POINT_GROUP) if found is None else found:
        if _selected(entry_point.name):
            _register(plugins, entry_point)
    for group in GROUPS:
        plugins.components[group.name] = {
            component.name: Provided(component, provider)
            for component, provider in _collect(plugins, group.hook, f"{group.name}=")
        }
    plugins.commands = {item.name: item for item, _ in _collect(plugins, "commands", "rlhfkit ")}
    plugins.stages = {item.name: item for item, _ in _collect(plugins, "stages", "stage ")}
    return plugins


def _selected(name: str) -> bool:
    wanted = os.environ.get(RESTRICT_VARIABLE)
    return wanted is None or name in [item.strip() for item in wanted.split(",")]


def _register(plugins: Plugins, entry_point: EntryPoint) -> None:
    dist = entry_point.dist
    provider = Provider(entry_point.name, dist.name if dist else "?", dist.version if dist else "?")
    if entry_point.name in plugins.providers:
        raise UserError(
            f"{provider} and {plugins.providers[entry_point.name]} use one entry point name; "
            f"uninstall one of them"
        )
    try:
        module = entry_point.load()
    except Exception as error:
        raise UserError(
            f"{provider} cannot be imported: {type(error).__name__}: {error}; mend or uninstall it"
        ) from error
    plugins.manager.register(module, name=entry_point.name)
    plugins.providers[entry_point.name] = provider
    _check_hooks(plugins, module, provider)


def _check_hooks(plugins: Plugins, module: Any, provider: Provider) -> None:
    """pluggy keeps an unknown hook pending until `check_pending`; say whose it is and what fits."""
    try:
        plugins.manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = [name for name in vars(hookspecs) if hasattr(hookspecs, name)]
        known = [name for name in known if hasattr(getattr(hookspecs, name), "rlhfkit_spec")]
        marked = [name for name in dir(module) if hasattr(getattr(module, name), "rlhfkit_impl")]
        wrong = next(name for name in marked if name not in known)
        raise UserError(f"{provider}: unknown hook '{wrong}'; {nearest(wrong, known)}") from error


def _collect(plugins: Plugins, hook: str, prefix: str) -> Iterator[tuple[Any, Provider]]:
    """What all plugins return for a hook, and which of them did. prefix: what messages say before
    the name of such a thing."""
    providers: dict[str, Provider] = {}
    for implementation in getattr(plugins.hook, hook).get_hookimpls():
        provider = plugins.providers[implementation.plugin_name]
        for item in implementation.function():
            if (other := providers.get(item.name)) is not None:
                raise UserError(
                    f"{prefix}{item.name} is claimed by {provider} and by {other}; uninstall one"
                )
            providers[item.name] = provider
            yield item, provider


def _place(plugin: Any) -> Path | None:
    """The folder of a plugin's outermost package, or its file where it has no package."""
    outermost = sys.modules[plugin.__name__.partition(".")[0]]
    file = getattr(outermost, "__file__", None)
    if file is None:
        return None
    return Path(file).parent if hasattr(outermost, "__path__") else Path(file)
