"""`rlhfkit report RUN...`: one page about one or several runs, finished or not."""

import os
from pathlib import Path

from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stages.registry import stages_of
from rlhfkit.storage.find_run import find_run
from rlhfkit.storage.run_dir import RunDir


def show_report(arguments: list[str], plugins: Plugins) -> None:
    """Write report.html and report.json: into the run's directory, or of several runs into the one
    they lie in."""
    from rlhfkit.pages.contents import read_run
    from rlhfkit.pages.page import write

    if not arguments:
        raise UserError("report: say which run, as in rlhfkit report runs/quickstart")
    stages = stages_of(plugins)
    roots = [_root(word, [stage.name for stage in stages]) for word in arguments]
    runs = [read_run(RunDir(root), stages) for root in roots]
    folder = Path(os.path.commonpath([root.absolute() for root in roots]))
    try:
        page = write(runs, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from error
    console.print(f"report: {page}", markup=False, soft_wrap=True)


def _root(word: str, stages: list[str]) -> Path:
    """The directory of a run, also of a damaged one that is named in full."""
    root = Path(word).expanduser()
    if any((root / name).is_dir() for name in stages):
        return root
    return find_run(word, "report").root
