"""`rlhfkit options [GROUP | GROUP=NAME | SECTION]`: what can be set, and what it means."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml
from rich.padding import Padding

from rlhfkit.component import GROUPS, Component, Group
from rlhfkit.config.docs import Option, options_of, parts_of
from rlhfkit.config.run import run_schema
from rlhfkit.console import console
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins

_GROUPS = {group.name: group for group in GROUPS}


@cache
def given_elsewhere() -> dict[str, str]:
    """What conf/ or the recipe gives where the dataclass has no default, by option, in words."""
    conf = yaml.safe_load((files("rlhfkit_conf") / "config.yaml").read_text(encoding="utf-8"))
    return {
        "run_name": "the recipe's name",
        "run_dir": "by run_name",
        "stages": ", ".join(conf["stages"]),
        "model.path": "by model= or the recipe",
    }


def show_options(words: list[str], plugins: Plugins) -> None:
    """Print the options of what is named; of a run as a whole where nothing is."""
    known = known_options(plugins)
    for word in words or ["run"]:
        chosen = [name for name in known if name == word or name.startswith(f"{word}=")]
        if not chosen:
            names = [*known, *(group.name for group in GROUPS)]
            raise UserError(f"options {word}: no such group or section; {nearest(word, names)}")
        for name in chosen:
            group, _, component = name.partition("=")
            if component:
                provided = plugins.components[group][component]
                show_component(_GROUPS[group], provided.component)
            else:
                show_section(name, known[name])
    if not words:
        names = [name for name in known if "=" not in name] + [group.name for group in GROUPS]
        console.print(f"More: rlhfkit options {' | '.join(names[1:])}", soft_wrap=True)


def known_options(plugins: Plugins) -> dict[str, type]:
    """Every dataclass of options by what it is called: `run`, `stage.sft`, `kl=adaptive`."""
    run = run_schema(plugins.stages)
    known: dict[str, type] = {"run": run}
    waiting: list[tuple[str, type]] = [("", run)]
    for prefix, config in waiting:
        for name, part in parts_of(config):
            known[f"{prefix}{name}"] = part
            waiting.append((f"{prefix}{name}.", part))
    for group in GROUPS:
        for name, provided in plugins.components[group.name].items():
            known[f"{group.name}={name}"] = provided.component.config
    return known


def show_component(group: Group, component: Component) -> None:
    """Print the options of a component: its own, and those that its group adds."""
    place = f"{group.name}.{component.name}" if group.many else group.name
    _show(f"{group.name}={component.name}", component.config)
    _show_options(place, options_of(component.config) + options_of(group.extra))


def show_section(name: str, config: type) -> None:
    """Print the options of a section of a run's, as stage.sft."""
    _show(name, config)
    choices = {group.name for group in GROUPS} if name == "run" else set[str]()
    own = [option for option in options_of(config) if option.name not in choices]
    _show_options("" if name == "run" else name, own)


def _show(name: str, config: type) -> None:
    console.print(f"[bold]{name}[/bold]  {' '.join((config.__doc__ or '').split())}")


def _show_options(place: str, options: Sequence[Option]) -> None:
    for option in options:
        path = f"{place}.{option.name}".lstrip(".")
        given = given_elsewhere().get(path)
        text = f"  {path}: {given}" if given else f"  {path}={option.default}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        console.print(Padding(option.doc, (0, 0, 0, 6)), markup=False, highlight=False)
