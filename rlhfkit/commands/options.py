"""`rlhfkit options [GROUP | GROUP=NAME | SECTION]`: what can be set, and what it means."""

from rich.padding import Padding

from rlhfkit.component import GROUPS
from rlhfkit.config.docs import options_of, parts_of
from rlhfkit.config.run import run_schema
from rlhfkit.console import console
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins


def show_options(words: list[str], plugins: Plugins) -> None:
    """Print the options of what is named; of a run as a whole where nothing is."""
    known = known_options(plugins)
    for word in words or ["run"]:
        chosen = [name for name in known if name == word or name.startswith(f"{word}=")]
        if not chosen:
            names = [*known, *(group.name for group in GROUPS)]
            raise UserError(f"options {word}: no such group or section; {nearest(word, names)}")
        for name in chosen:
            _show(name, known[name])
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


def _show(name: str, config: type) -> None:
    group, chosen, component = name.partition("=")
    many = chosen and next(item.many for item in GROUPS if item.name == group)
    place = f"{group}.{component}" if many else group
    console.print(f"[bold]{name}[/bold]  {' '.join((config.__doc__ or '').split())}")
    for option in options_of(config):
        if name == "run" and option.name in {item.name for item in GROUPS}:
            continue  # a choice, with options of its own
        path = option.name if name == "run" else f"{place}.{option.name}"
        console.print(f"  {path}={option.default}", markup=False, highlight=False, soft_wrap=True)
        console.print(Padding(option.doc, (0, 0, 0, 6)), markup=False, highlight=False)
