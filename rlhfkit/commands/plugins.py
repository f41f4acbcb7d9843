"""`rlhfkit plugins [NAME ...] [--verbose]`: what is installed, and where each part comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from inspect import getsourcefile
from typing import Any

from rich.table import Table

from rlhfkit.commands.flags import parse_flags
from rlhfkit.component import GROUPS
from rlhfkit.console import console, text_table
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins

_HOW_TO_SET = """\
An option is set as in kl.kl_coef=0.05; where several components may be
chosen, with the component's name: reward.length.weight=0.5.
`rlhfkit options kl` tells more."""


@dataclass(frozen=True)
class PluginsOptions:
    """`rlhfkit plugins`"""

    verbose: bool = False
    """Every component with its options and what they mean, and the files that hold them."""


def show_plugins(arguments: list[str], plugins: Plugins) -> None:
    """Every plugin with its distribution, version and hooks, then every component; of those
    named, by plugin or distribution, where any are."""
    words, options = parse_flags("plugins", arguments, PluginsOptions)
    chosen = _chosen(words, plugins)
    if options.verbose:
        for name in chosen:
            _show_plugin(name, plugins)
        return
    console.print(_plugin_table(chosen, plugins))
    console.print(_component_table(chosen, plugins))
    console.print(_HOW_TO_SET)


def _chosen(words: Sequence[str], plugins: Plugins) -> list[str]:
    """Names of plugins."""
    owners = {name: provider.distribution for name, provider in plugins.providers.items()}
    for word in words:
        if word not in {*owners, *owners.values()}:
            near = nearest(word, {*owners, *owners.values()})
            raise UserError(f"plugins {word}: no such plugin or distribution; {near}")
    return [name for name in owners if not words or name in words or owners[name] in words]


def _plugin_table(chosen: Sequence[str], plugins: Plugins) -> Table:
    table = text_table("plugin", "distribution", "version", "hooks", title="Plugins")
    for name in chosen:
        provider = plugins.providers[name]
        table.add_row(
            name, provider.distribution, provider.version, ", ".join(_hooks(name, plugins))
        )
    return table


def _component_table(chosen: Sequence[str], plugins: Plugins) -> Table:
    head = ("choose with", "options", "from")
    table = text_table(*head, title="Components", whole=("choose with",))
    for group in GROUPS:
        for name, provided in sorted(plugins.components[group.name].items()):
            if provided.provider.plugin not in chosen:
                continue
            options = [option.name for option in fields(group.schema(provided.component))]
            shown = ", ".join(option for option in options if option != "name")
            table.add_row(f"{group.name}={name}", shown, provided.provider.distribution)
        table.add_section()
    return table


def _hooks(name: str, plugins: Plugins) -> list[str]:
    callers = plugins.manager.get_hookcallers(plugins.manager.get_plugin(name)) or []
    return sorted(caller.name for caller in callers)


def _show_plugin(name: str, plugins: Plugins) -> None:
    """One plugin: where it is, its hooks, and all that it adds."""
    from rlhfkit.commands.options import show_component, show_section  # they bring omegaconf

    provider, module = plugins.providers[name], plugins.manager.get_plugin(name)
    console.rule(f"[bold]{provider}", align="left")
    _tell(f"file   {getattr(module, '__file__', None) or '?'}")
    _tell(f"hooks  {', '.join(_hooks(name, plugins)) or 'none'}")
    for group in GROUPS:
        for provided in plugins.components[group.name].values():
            if provided.provider == provider:
                console.print()
                show_component(group, provided.component)
                _tell(f"  built by {_place(provided.component.build)}")
                _tell(f"  options in {getsourcefile(provided.component.config)}")
    for stage in _given("stages", name, plugins):
        console.print()
        show_section(f"stage.{stage.name}", stage.config)
        _tell(f"  run by {_place(stage.run)}")
    for command in _given("commands", name, plugins):
        console.print()
        _tell(f"rlhfkit {command.name}: {command.help}")
        _tell(f"  run by {_place(command.run)}")


def _given(hook: str, name: str, plugins: Plugins) -> list[Any]:
    """What one plugin returns for a hook."""
    callers = getattr(plugins.hook, hook).get_hookimpls()
    return [item for found in callers if found.plugin_name == name for item in found.function()]


def _place(path: str) -> str:
    """`package.module:callable` and its file, found without importing it."""
    spec = find_spec(path.partition(":")[0])
    return f"{path} in {spec.origin if spec else '?'}"


def _tell(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
