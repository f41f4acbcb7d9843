"""What `rlhfkit plugins` and `rlhfkit stages` print."""

from dataclasses import fields
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from rlhfkit.component import GROUPS
from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins

if TYPE_CHECKING:  # it brings Hydra, which takes as long as all the rest of `rlhfkit plugins`
    from rlhfkit.runner.runner import Runner


def show_plugins(arguments: list[str], plugins: Plugins) -> None:
    """Every plugin with its distribution, version and hooks, then every component."""
    if arguments:
        raise UserError(f"rlhfkit plugins takes no arguments, got '{arguments[0]}'")
    found = Table(
        "plugin", "distribution", "version", "hooks", title="Plugins", title_justify="left"
    )
    for name, provider in plugins.providers.items():
        callers = plugins.manager.get_hookcallers(plugins.manager.get_plugin(name)) or []
        hooks = ", ".join(sorted(caller.name for caller in callers))
        found.add_row(name, provider.distribution, provider.version, hooks)
    console.print(found)
    console.print(_component_table(plugins))


def _component_table(plugins: Plugins) -> Table:
    table = Table(
        "choose with",
        "configure under",
        "options",
        "from",
        title="Components",
        title_justify="left",
    )
    for group in GROUPS:
        for name, provided in sorted(plugins.components[group.name].items()):
            prefix = f"{group.name}.{name}" if group.many else group.name
            options = [option.name for option in fields(group.schema(provided.component))]
            shown = ", ".join(option for option in options if option != "name")
            table.add_row(
                f"{group.name}={name}", f"{prefix}.*", shown, provided.provider.distribution
            )
        table.add_section()
    return table


def show_stages(runner: "Runner") -> None:
    """The state of every stage of a run directory, and what the next `run` would do."""
    table = Table(
        "stage", "state", "finished at", "seconds", "next", title=escape(str(runner.run_dir.root)),
        title_justify="left",
    )  # fmt: skip
    for stage in runner.stages:
        status = runner.status(stage)
        record = status.record
        table.add_row(
            stage.name,
            status.state.value,
            record.finished_at if record else "",
            f"{record.seconds:.0f}" if record and record.finished_at else "",
            status.state.next_step if stage in runner.chosen else "not in stages",
        )
    console.print(table)
