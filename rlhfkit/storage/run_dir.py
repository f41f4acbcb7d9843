"""The run on disk: where stages write, what was finished with which settings, and what is stale.

A stage writes into `<run>/<stage>/` and is finished once `stage.json` stands there; that file is
written last, aside, synced and renamed. Until then `started.json` says with which settings it was
started, and `checkpoints/` has what it can go on from.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlhfkit.distributed.processes import is_main
from rlhfkit.errors import UserError

RECORD = "stage.json"
STARTED = "started.json"
CHECKPOINTS = "checkpoints"
INVOCATIONS = "invocations"

_MISREAD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises for JSON of another form."""

_KINDS = {"settings": dict, "inputs": dict, "outputs": dict, "seconds": int | float}


@dataclass(frozen=True)
class StageRecord:
    """What `stage.json` holds: enough to tell whether a stage's results are still right."""

    stage: str
    settings: dict[str, Any]
    """Every option the stage depends on, by dotted name."""

    inputs: dict[str, str]
    """Digests of its data and of the earlier stages it reads."""

    seconds: float = 0.0
    finished_at: str = ""
    outputs: dict[str, int] = field(default_factory=dict)
    """Files it wrote, relative to its directory, with their sizes in bytes."""

    @classmethod
    def parse(cls, path: Path, stage: str) -> "StageRecord":
        """The record of a stage; raises what Python has to say of a file that holds none."""
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        record = cls(**json.loads(path.read_text(encoding="utf-8")))
        if record.stage != stage:
            raise ValueError(f"it is of the stage {record.stage!r:.40}")
        for name, kind in _KINDS.items():
            if not isinstance(getattr(record, name), kind):
                raise TypeError(f"its {name} are {getattr(record, name)!r:.40}")
        return record

    @property
    def digest(self) -> str:
        """Stands for this stage's results in the records of the stages that read them."""
        content = json.dumps([self.settings, self.inputs], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def differences(self, other: "StageRecord") -> dict[str, tuple[Any, Any]]:
        """Keys whose values differ, as (self's, other's)."""
        mine, theirs = self.settings | self.inputs, other.settings | other.inputs
        return {
            key: (mine.get(key), theirs.get(key))
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        }


class RunDir:
    """Paths and records of one run directory."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def stage_dir(self, stage: str) -> Path:
        """Where a stage writes."""
        return self.root / stage

    def record(self, stage: str) -> StageRecord | None:
        """The record of a finished stage, None for one that is not.

        Raises `UserError` for a record that cannot be read or whose outputs are gone.
        """
        path = self.stage_dir(stage) / RECORD
        if not path.exists():
            return None
        record = _read_record(path, stage)
        for name, size in record.outputs.items():
            file = path.parent / name
            if not file.exists() or file.stat().st_size != size:
                raise UserError(
                    f"{file}: missing or not of the size it was written with; run again with "
                    f"force_from={stage}, or choose another run_name"
                )
        return record

    def records(self) -> list[StageRecord]:
        """Those of all complete stages, the first finished first."""
        found = (self.record(path.parent.name) for path in self.root.glob(f"*/{RECORD}"))
        return sorted(filter(None, found), key=lambda record: record.finished_at or "")

    def interrupted(self, stage: str) -> StageRecord | None:
        """With which settings a stage was started that has a checkpoint to go on from; None for
        every other stage. Raises `UserError` for a record that cannot be read."""
        folder = self.stage_dir(stage)
        if (folder / RECORD).exists() or not any((folder / CHECKPOINTS).glob("step_*")):
            return None
        return _read_record(folder / STARTED, stage)

    def start(self, record: StageRecord) -> None:
        """A directory for a stage: as it was left where there is a checkpoint, else an empty one
        with the record of what it is started with."""
        if self.interrupted(record.stage) is None:
            write_json(self.begin(record.stage) / STARTED, asdict(record))

    def begin(self, stage: str) -> Path:
        """An empty directory for a stage that starts."""
        path = self.stage_dir(stage)
        try:
            if path.exists():
                shutil.rmtree(path)
            path.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
        return path

    def complete(self, record: StageRecord) -> None:
        """Write a stage's record, which makes it finished, and remove what it went on from."""
        path = self.stage_dir(record.stage)
        passing = (path / CHECKPOINTS, path / STARTED, _aside(path / RECORD))
        outputs = {
            str(file.relative_to(path)): file.stat().st_size
            for file in sorted(path.rglob("*"))
            if file.is_file() and not {file, *file.parents}.intersection(passing)
        }
        finished = StageRecord(
            record.stage,
            record.settings,
            record.inputs,
            record.seconds,
            time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            outputs,
        )
        write_json(path / RECORD, asdict(finished))
        self.tidy(record.stage)

    def tidy(self, stage: str) -> None:
        """Remove what a finished stage went on from, which a kill right behind its end has left."""
        path = self.stage_dir(stage)
        shutil.rmtree(path / CHECKPOINTS, ignore_errors=True)
        (path / STARTED).unlink(missing_ok=True)

    def set_aside(self, stages: list[str]) -> Path | None:
        """Move the results of stages to `replaced/<time>/`; None when there were none."""
        existing = [stage for stage in stages if self.stage_dir(stage).exists()]
        if not existing:
            return None
        target = self.root / "replaced" / time.strftime("%Y-%m-%d_%H-%M-%S")
        target.mkdir(parents=True, exist_ok=True)
        for stage in existing:
            self.stage_dir(stage).rename(target / stage)
        return target


def _read_record(path: Path, stage: str) -> StageRecord:
    try:
        return StageRecord.parse(path, stage)
    except (ValueError, TypeError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())  # it may quote any character
        raise UserError(
            f"{path}: corrupt record ({reason}); run again with force_from={stage}, "
            f"or choose another run_name"
        ) from error


def runs_in(directory: Path) -> list[RunDir]:
    """The runs of a directory: itself, and those that stand in it, by name."""
    places = (directory, *sorted(directory.iterdir()))
    return [RunDir(place) for place in places if any(place.glob(f"*/{RECORD}"))]


def _aside(path: Path) -> Path:
    """Where a file is written before it gets its name; a kill in between leaves it there."""
    return path.with_name(path.name + ".tmp")


def write_json(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    """Write JSON so that the file is either whole or absent; one process does."""
    if not is_main():
        return
    aside = _aside(path)
    with aside.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines so that the file is either whole or absent; one process does."""
    if not is_main():
        return
    aside = _aside(path)
    with aside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that `write_jsonl` wrote."""
    with as_written(path), path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_json(path: Path) -> Any:
    """The value of a file that `write_json` wrote."""
    with as_written(path):
        return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Read and take apart a file of a finished stage in here: `UserError` where it cannot be what
    the stage wrote."""
    try:
        yield
    except (*_MISREAD, FileNotFoundError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{path}: altered since it was written ({reason:.80}); make "
            f"its stage again with force_from=<stage>"
        ) from error
