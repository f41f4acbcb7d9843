"""`rlhfkit rm RUN... [--yes]`: runs that are no longer wanted, with all that they made."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rlhfkit.commands.flags import parse_flags
from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.runner.run_lock import run_lock
from rlhfkit.stages.registry import stages_of
from rlhfkit.storage.find_run import find_run
from rlhfkit.storage.run_dir import RunDir


@dataclass(frozen=True)
class RemoveOptions:
    """`rlhfkit rm RUN...`"""

    yes: bool = False
    """Remove without asking."""


def remove_runs(arguments: list[str], plugins: Plugins) -> None:
    """Say what each holds, ask, and remove it."""
    words, options = parse_flags("rm", arguments, RemoveOptions)
    if not words:
        raise UserError("rm: say which run, as in rlhfkit rm runs/tries [--yes]")
    runs = [find_run(word, "rm") for word in words]
    for run in runs:
        _refuse_places(run.root)
        with run_lock(run.root):  # nothing is asked of a run that a process is at work in
            sure = options.yes or _asked(_about(run, plugins))
        if not sure:
            console.print(f"{run.root}: kept", markup=False, soft_wrap=True)
            continue
        try:
            shutil.rmtree(run.root)
        except OSError as error:
            raise UserError(f"rm {run.root}: {error.strerror or error}") from error
        console.print(f"{run.root}: removed", markup=False, soft_wrap=True)


def _refuse_places(root: Path) -> None:
    if root.is_symlink():
        raise UserError(f"rm {root}: is a link; remove it, or what it leads to, by hand")
    if Path.cwd().is_relative_to(root.resolve()):
        raise UserError(f"rm {root}: is where you are; leave it first")


def _about(run: RunDir, plugins: Plugins) -> str:
    made = [stage.name for stage in stages_of(plugins) if run.stage_dir(stage.name).is_dir()]
    size = sum(file.stat().st_size for file in run.root.rglob("*") if file.is_file())
    return f"{run.root}: {', '.join(made) or 'no stage'}, {size / 1e6:,.1f} MB"


def _asked(about: str) -> bool:
    if not sys.stdin.isatty():
        raise UserError(f"{about}: nobody to ask here; add --yes to remove it")
    console.print(about, markup=False, soft_wrap=True)
    return input("remove it? [y/N] ").strip().lower() in ("y", "yes")
