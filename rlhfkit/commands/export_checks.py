"""What `rlhfkit export` is refused for, before the libraries that do it are imported."""

from pathlib import Path

from rlhfkit.config.run import RunConfig
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stages.registry import find_stage, stages_of
from rlhfkit.storage.run_dir import RunDir, StageRecord


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
    """Where to write: a directory that is empty or not there yet."""
    name = config.export.stage + ("-merged" if config.export.merged else "")
    target = Path(config.export.to or Path(config.run_dir) / "export" / name)
    if target.is_dir() and not any(target.iterdir()):
        return target
    if target.exists():
        raise UserError(f"export.to={target}: is there already; choose another or remove it")
    return target
