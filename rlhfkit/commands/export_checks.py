"""What `rlhfkit export` is refused for, before the libraries that do it are imported."""

from pathlib import Path

from rlhfkit.config.run import RunConfig
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stages.registry import find_stage, stages_of
from rlhfkit.storage.run_dir import RunDir, StageRecord

CARD = "README.md"
"""In every export."""


def exported_record(config: RunConfig, plugins: Plugins) -> StageRecord:
    """The record of the stage to export."""
    run_dir, name, stages = RunDir(config.run_dir), config.export.stage, stages_of(plugins)
    stage = find_stage(name, stages)
    record = run_dir.record(stage.name)
    if record is not None and (run_dir.stage_dir(stage.name) / "model").is_dir():
        return record
    having = [item.name for item in stages if (run_dir.stage_dir(item.name) / "model").is_dir()]
    finished = [item for item in having if run_dir.record(item) is not None]
    raise UserError(
        f"export.stage={name}: no finished model in {run_dir.stage_dir(name)}; "
        f"choices: {', '.join(finished) or 'none, let the stage run first'}"
    )


def export_target(config: RunConfig) -> Path:
    """Where to write: a directory that is empty or not there yet, or one to be sent as it is.

    Raises `UserError` for options that do not go together, too.
    """
    options = config.export
    if options.gguf is not None and options.stage == "reward_model":
        raise UserError(
            "export.gguf: llama.cpp has no reward models of this kind; export.gguf=null"
        )
    kind = "-gguf" if options.gguf else "-merged" if options.merged else ""
    target = Path(options.to or Path(config.run_dir) / "export" / f"{options.stage}{kind}")
    if is_there(target) and (options.push is None or not (target / CARD).is_file()):
        raise UserError(f"export.to={target}: is there already; choose another or remove it")
    return target


def is_there(target: Path) -> bool:
    """Whether something is in the way, or there to be sent."""
    return target.exists() and not (target.is_dir() and not any(target.iterdir()))
