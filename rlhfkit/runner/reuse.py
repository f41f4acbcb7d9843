"""Stages that another run has finished with the same settings and inputs are not run again."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import RECORD, RunDir, StageRecord, runs_in, write_json


class Lenders:
    """The runs that `reuse` names: a run's directory, or one that runs' directories stand in."""

    def __init__(
        self, directory: str | None, borrower: RunDir, rounds: Sequence[RunDir] = ()
    ) -> None:
        """rounds: the earlier ones, which lend as well. Raises `UserError` for a directory that
        does not exist; that of a sweep's points need not yet, when the first point runs."""
        self._runs = list(rounds)
        if directory is None:
            return
        root = Path(directory)
        if root.is_dir():
            self._runs += runs_in(root)
        elif root not in (borrower.root, *borrower.root.parents):
            raise UserError(f"reuse={directory}: no such directory")

    def __bool__(self) -> bool:
        return bool(self._runs)

    def find(self, wanted: StageRecord) -> RunDir | None:
        """The first run that has this stage with the same settings and inputs."""
        return next((run for run in self._runs if _has(run, wanted)), None)


def _has(run: RunDir, wanted: StageRecord) -> bool:
    try:
        record = run.record(wanted.stage)
    except UserError:  # damaged results of another run are not this one's affair
        return False
    return record is not None and not record.differences(wanted)


def take_over(stage: str, lender: RunDir, borrower: RunDir) -> None:
    """Another run's result as this run's own, without a copy where the file system has hard links:
    stages never change a file in place. The record comes last, as in a run."""
    record = lender.record(stage)
    assert record is not None
    source, target = lender.stage_dir(stage), borrower.begin(stage)
    for name in record.outputs:
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        _link(source / name, file)
    write_json(target / RECORD, asdict(record))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
