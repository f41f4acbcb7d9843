"""Whether two runs ended the same: every byte, but for what the clock wrote."""

import json
from pathlib import Path

from rlhfkit.storage.catalogue import METRICS_FILE
from rlhfkit.storage.run_dir import RECORD

_CLOCK = ("time/", "train_runtime", "train_s", "eval_runtime", "eval_s", "step_time")
"""How names of timings start, in metrics.jsonl."""

_UNEQUAL = ("invocations", "report", "report.html", "report.json", "run.json")
"""What tells when a run ran, how long it took, and how it was typed."""


def contents(root: Path) -> dict[str, object]:
    """What is in a run's files, by path."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and name.parts[0] not in _UNEQUAL and not path.name.startswith(".lock"):
            found[str(name)] = _content(path)
    return found


def _content(path: Path) -> object:
    if path.name == METRICS_FILE:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [_without_clock(row) for row in rows]
    if path.name == RECORD:
        record = json.loads(path.read_text())
        del record["outputs"][METRICS_FILE]
        return {**record, "seconds": 0, "finished_at": ""}
    return path.read_bytes()


def _without_clock(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if not name.startswith(_CLOCK)}
