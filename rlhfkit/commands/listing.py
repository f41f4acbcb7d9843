"""What `rlhfkit list`, `stages` and `version` print."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from rlhfkit.console import console, text_table
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stages.registry import stages_of
from rlhfkit.storage.find_run import RUNS, find_runs_folder
from rlhfkit.storage.run_dir import runs_in

if TYPE_CHECKING:  # it brings Hydra, which takes as long as all the rest of `rlhfkit list`
    from rlhfkit.runner.runner import Runner


_STACK = ("torch", "trl", "transformers", "peft")


def show_versions() -> None:
    """rlhfkit's version, and those of what it stands on, none of which is imported."""
    stack = ", ".join(f"{name} {version(name)}" for name in _STACK)
    console.print(f"rlhfkit {version('rlhfkit')} ({stack})", markup=False, soft_wrap=True)


def show_runs(arguments: list[str], plugins: Plugins) -> None:
    """`rlhfkit list [DIR]`: the runs of a directory, points of sweeps among them; of the nearest
    `runs/`, here or above, unless told."""
    root = Path(arguments[0]).expanduser() if arguments else find_runs_folder() or Path(RUNS)
    if len(arguments) > 1 or not root.is_dir():
        if arguments:
            raise UserError(f"list: no directory {' '.join(arguments)}")
        raise UserError(f"list: no directory {root}, neither here nor in any directory above")
    runs = [run for run in runs_in(root) if run.root == root]
    runs += [run for place in sorted(root.iterdir()) if place.is_dir() for run in runs_in(place)]
    title = f"Runs in {escape(str(root))}"
    table = text_table("run", "finished stages", "last at", title=title, whole=("last at",))
    for run in runs:
        records = [
            record for stage in stages_of(plugins) if (record := run.record(stage.name)) is not None
        ]
        last = max(record.finished_at for record in records)
        table.add_row(escape(str(run.root)), ", ".join(item.stage for item in records), last)
    console.print(table if runs else f"no finished stage of a run in {escape(str(root))}")


def show_stages(runner: "Runner") -> None:
    """The state of every stage of a run directory, and what the next `run` would do."""
    head = ("stage", "state", "finished at", "seconds", "next")
    title = escape(str(runner.run_dir.root))
    table = text_table(*head, title=title, whole=("stage", "finished at", "seconds"))
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
