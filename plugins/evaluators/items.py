"""The items of a benchmark, and the numbers of the rows that they became."""

from collections.abc import Iterable, Sequence
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.errors import NotRun, UserError
from rlhfkit.intervals import interval
from rlhfkit.types import Metric
from rlhfkit_plugins.data.files import read_rows

Row = dict[str, Any]


def read_items(option: str, path: str | None, columns: Sequence[str]) -> list[Row]:
    """The rows of a file that has these columns; `NotRun` where it cannot be had.

    option: what names the file, as in `evaluator.truthfulqa.path`.
    """
    if path is None:
        raise NotRun(f"{option} names no file")
    try:
        rows = read_rows(path)
    except UserError as error:
        raise NotRun(f"{option}: {error}") from error
    missing = [name for name in columns if name not in rows[0]]
    if missing:
        raise NotRun(f"{option}={path}: has no column {', '.join(missing)}")
    return rows


def first(rows: list[Row], limit: int | None, option: str) -> tuple[list[Row], list[str]]:
    """The first rows, and a note where there are fewer than were asked for."""
    if limit is None or len(rows) >= limit:
        return rows[:limit], []
    return rows, [f"{count_of(len(rows), 'item')}, where {option}.limit={limit} asks for more"]


def metrics_of(
    rows: Iterable[Row], names: Sequence[str], level: float, resamples: int, seed: int
) -> dict[str, dict[str, Metric]]:
    """By policy, for each name the mean over items of the rows' numbers under it; policies without
    any have none."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        for name in names:
            if row.get(name) is not None:
                items = found.setdefault(row["policy"], {}).setdefault(name, {})
                items.setdefault(repr(row["item"]), []).append(float(row[name]))
    return {
        policy: {
            name: interval(
                [sum(values) / len(values) for values in items.values()], level, resamples, seed
            )
            for name, items in columns.items()
        }
        for policy, columns in found.items()
    }
