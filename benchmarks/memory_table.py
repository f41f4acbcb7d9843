"""The memory benchmark's records as a table."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from memory_setup import GIB
from rich import box
from rich.table import Table

_PEAKS = ("peak_allocated_bytes", "peak_reserved_bytes", "peak_resident_bytes")
"""The first two of a GPU, the last of a CPU's whole process."""

Record = Mapping[str, Any]


def table(runs: Sequence[Record], planned: Mapping[str, Mapping[str, float] | None]) -> Table:
    """A row for each model, cap and phase, of all repetitions but the first: that one warms up and
    finds the rows that fit."""
    peaks = [name for name in _PEAKS if any(name in run for run in runs)]
    with_plan = any(planned.values())
    made = Table(title="Peaks in GiB, median speeds", box=box.SIMPLE)
    for column in ("model", "cap", "phase", "rows", *(name.split("_")[1] for name in peaks)):
        made.add_column(column)
    for column in (*(["planned"] if with_plan else []), "tokens/s"):
        made.add_column(column)
    for (model, cap, phase), group in _groups(runs).items():
        plan = [_gib((planned[model] or {}).get(phase))] if with_plan else []
        rows, *numbers, speed = _cells(group[1:] or group, peaks)
        made.add_row(model, cap_name(cap), phase, rows, *numbers, *plan, speed)
    return made


def cap_name(cap: float | None) -> str:
    """As people write it."""
    return "none" if cap is None else f"{cap:g} GiB"


def _groups(runs: Sequence[Record]) -> dict[tuple[str, float | None, str], list[Record]]:
    groups: dict[tuple[str, float | None, str], list[Record]] = {}
    for run in runs:
        groups.setdefault((run["model"], run["cap_gib"], run["phase"]), []).append(run)
    return groups


def _cells(group: Sequence[Record], peaks: Sequence[str]) -> list[str]:
    """Rows, peaks and tokens per second."""
    if not all(run["fits"] for run in group):
        return ["does not fit", *("-" for _ in peaks), "-"]
    rows, fitted = group[-1]["rows"], group[-1]["rows_at_once"]
    return [
        str(rows) if fitted == rows else f"{fitted} of {rows}",
        *(_gib(max(run[name] for run in group)) for name in peaks),
        f"{statistics.median(run['tokens_per_second'] for run in group):.0f}",
    ]


def _gib(size: float | None) -> str:
    return "-" if size is None else f"{size / GIB:.2f}"
