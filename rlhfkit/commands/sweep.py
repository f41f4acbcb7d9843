"""The points of a sweep, told from files: a launcher may run them in other processes.

A point leaves `point.json` in Hydra's own directory of it, `runs/sweeps/<time>/<overrides>/`, which
is on a disk that all machines of a cluster share.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from traceback import format_exception
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rlhfkit.commands.error_lines import one_line
from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.runner.runner import StageFailed
from rlhfkit.storage.run_dir import RunDir, write_json

POINT = "point.json"
LONGEST_NAME = 120
"""Bytes. File systems allow 255, of which libraries want some for names of their own."""


class PointFailed(Exception):
    """An unexpected error in another process, with the traceback from there."""


@dataclass(frozen=True)
class Point:
    """One job of a sweep."""

    run_dir: str
    mistake: str | None = None
    """One line, where it failed by a mistake of the user's."""

    traceback: str | None = None
    """Where it failed by one of ours."""

    stage: str | None = None
    """In which stage that was."""

    has_started: bool = True
    """Whether a stage was."""

    def require_success(self) -> None:
        """Raise what the point failed with."""
        if self.mistake is not None:
            raise UserError(self.mistake)
        if self.traceback is not None:
            failure = PointFailed(self.traceback)
            if self.stage is None:
                raise failure
            raise StageFailed(self.stage) from failure


class SweepDirectory(Callback):
    """Hydra's callback in the process that launches a sweep: keeps where its points write."""

    place: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called once, before any point runs."""
        SweepDirectory.place = Path(config.hydra.sweep.dir)
        for old in SweepDirectory.place.rglob(POINT):
            old.unlink()


def record_point(run_dir: str, error: Exception | None, has_started: bool) -> None:
    """Leave word of a job's end. That it failed is told at once: other points may take hours."""
    mistake = one_line(error) if error else None
    trace = stage = None
    if error is not None and mistake is None:
        stage = getattr(error, "stage", None)
        trace = "".join(format_exception(error.__cause__ if stage else error))
    if error is not None:
        reason = mistake or "an error, which is shown at the end"
        console.print(
            f"point {Path(run_dir).name} has failed, the others go on: {reason}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    point = Point(run_dir, mistake, trace, stage, has_started)
    write_json(Path(HydraConfig.get().runtime.output_dir) / POINT, asdict(point))


def points_of_sweep() -> list[Point]:
    """What the points of a sweep left, in their order; nothing where no sweep ran."""
    if SweepDirectory.place is None:
        return []
    files = sorted(SweepDirectory.place.rglob(POINT))
    return [Point(**json.loads(file.read_text(encoding="utf-8"))) for file in files]


def point_name(overrides: str) -> str:
    """A directory's name for a point, of the options that differ between points: one level, and
    short enough for every file system."""
    name = re.sub(r"[^\w.,=+-]+", "_", re.sub(r"[\"'\[\]]", "", overrides))
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"


def exclude_unswept(options: Sequence[str]) -> str:
    """Hydra's option that leaves the options with one value for all points out of their names."""
    names = [option.key_or_group for option in _unswept(options)]
    return f"hydra.job.config.override_dirname.exclude_keys=[{','.join(names)}]"


def fixed_options(options: Sequence[str]) -> list[str]:
    """The options with one value for all points."""
    return [option.input_line or "" for option in _unswept(options)]


def _unswept(options: Sequence[str]) -> list[Override]:
    parsed = OverridesParser.create().parse_overrides(list(options))
    return [option for option in parsed if not option.is_sweep_override()]


def compare_points(points: list[RunDir]) -> None:
    """The end of a sweep whose points were all evaluated."""
    if all(point.record("evaluate") for point in points):
        import_module("rlhfkit.commands.compare").compare([point.root for point in points])
