"""`rlhfkit report RUN...`: one page about one or several runs, finished or not."""

import os
from pathlib import Path

from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stages.registry import stages_of
from rlhfkit.storage.run_dir import RunDir


def show_report(arguments: list[str], plugins: Plugins) -> None:
    """Write report.html and report.json: into the run's directory, or of several runs into the one
    they lie in."""
    from rlhfkit.pages.contents import read_run
    from rlhfkit.pages.page import write

    if not arguments:
        raise UserError("report: say which run, as in rlhfkit report runs/quickstart")
    stages = stages_of(plugins)
    roots = [Path(word).expanduser() for word in arguments]
    for root in roots:
        if not any((root / stage.name).is_dir() for stage in stages):
            raise UserError(f"report {root}: no run's directory: no stage has written there")
    runs = [read_run(RunDir(root), stages) for root in roots]
    folder = Path(os.path.commonpath([root.absolute() for root in roots]))
    try:
        page = write(runs, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from error
    console.print(f"report: {page}", markup=False, soft_wrap=True)
