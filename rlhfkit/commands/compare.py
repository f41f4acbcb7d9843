"""Evaluated runs that differ in an option, as one table and one plot: the end of every sweep.

Writes beside the runs, in `comparison/`: comparison.md, comparison.csv (a row per run, policy and
metric), comparison.png where the one option that differs is a number.
"""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from rich.table import Table

from rlhfkit.console import console, number_table
from rlhfkit.errors import UserError
from rlhfkit.figures.comparison import Point, common_sft, draw, over_seeds
from rlhfkit.figures.paired import differences, items_of
from rlhfkit.figures.paper_curves import PAPER
from rlhfkit.plugin_manager import Plugins
from rlhfkit.reporting import confidence, read_metrics, shown
from rlhfkit.storage.rounds import round_of
from rlhfkit.storage.run_dir import RunDir, runs_in
from rlhfkit.types import Metric

ABOUT = (
    "Brackets and bars are {level} intervals over prompts or texts: they leave out what another "
    "training run would change. Win rates are against each run's SFT model, by its own labelers, "
    "which may be simulated."
)
_ACROSS = 3
"""Policies side by side on the console."""

SEEDS = "Values are means over seeds, whose own values stand behind the interval."
PAIRED = "Paired differences to the first row, over the same prompts or texts:"


def compare_runs(arguments: list[str], plugins: Plugins) -> None:
    """`rlhfkit compare RUN...`."""
    compare([Path(word) for word in arguments])


def compare(directories: list[Path]) -> None:
    """Print the table and write everything; each directory is a run's or holds runs.

    Raises `UserError` where there are not two evaluated runs with different settings.
    """
    runs = _points([run for place in directories for run in _runs(place)])
    points = over_seeds(runs)
    target = Path(os.path.commonpath([point.run.root.absolute() for point in runs]))
    target = Path(os.path.relpath(target)) / "comparison"
    target.mkdir(exist_ok=True)
    console.print(*_tables(points), sep="\n\n")
    about = ABOUT.format(level=confidence(_metrics(points)))
    about += f" {SEEDS}" if any(point.repeats for point in points) else ""
    lines = [*_markdown(*_cells(points)), "", about, *_findings(points), *_paired(points)]
    picture = target / "comparison.png"
    if draw(points, picture):
        lines += ["", f"![comparison]({picture.name})"]
    (target / "comparison.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_csv(runs, target / "comparison.csv")
    console.print("\n".join([about, *_findings(points), f"  comparison: {target}"]), markup=False)


def _metrics(points: list[Point]) -> list[Metric]:
    """All that the table shows."""
    return [metric for point in points for metric in point.metrics.get("rl", {}).values()]


def _runs(place: Path) -> list[RunDir]:
    runs = runs_in(place) if place.is_dir() else []
    if not runs:
        raise UserError(f"compare {place}: neither a run's directory nor one that holds runs")
    return runs


def _points(runs: list[RunDir]) -> list[Point]:
    """The runs with what they differ in, by its values."""
    if len(runs) < 2:
        raise UserError("compare: say at least two runs, as in rlhfkit compare runs/a runs/b")
    settings = [_settings(run) for run in runs]
    shared = set(settings[0]).intersection(*settings)
    swept = [key for key in settings[0] if key in shared and _differs(key, settings)]
    if not swept:
        raise UserError(f"compare: {runs[0].root} and the others have the same settings")
    points = [
        Point(run, {key: own[key] for key in swept}, read_metrics(run), items_of(run))
        for run, own in zip(runs, settings, strict=True)
    ]
    return sorted(points, key=lambda point: [_order(value) for value in point.options.values()])


def _differs(key: str, settings: list[dict[str, Any]]) -> bool:
    return any(own[key] != settings[0][key] for own in settings)


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers by size, then everything else by its text."""
    return (False, value) if isinstance(value, int | float) else (True, str(value))


def _settings(run: RunDir) -> dict[str, Any]:
    """All options of a run, from the records of its stages, and which round it is."""
    if run.record("evaluate") is None:
        raise UserError(f"compare {run.root}: the stage evaluate has not finished")
    settings = {key: value for record in run.records() for key, value in record.settings.items()}
    return settings | {"round": round_of(run)}


def _cells(points: list[Point]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the SFT model where it is one, then every run's policy."""
    swept = list(points[0].options)
    names = list(dict.fromkeys(name for point in points for name in point.metrics.get("rl", {})))

    def row(labels: list[str], found: dict[str, Metric]) -> list[str]:
        return [*labels, *(shown(found.get(name)) for name in names)]

    sft = common_sft(points)
    reference = [row(["SFT", *[""] * (len(swept) - 1)], sft)] if sft else []
    policies = [
        [*map(str, point.options.values()), *(_with_seeds(point, name) for name in names)]
        for point in points
    ]
    return [*swept, *names], [*reference, *policies]


def _with_seeds(point: Point, name: str) -> str:
    """A metric as text, with that of each seed behind it."""
    text = shown(point.metrics.get("rl", {}).get(name))
    each = [f"{run.metrics['rl'][name].value:.3g}" for run in point.repeats]
    return f"{text} ({', '.join(each)})" if each else text


def _paired(points: list[Point]) -> list[str]:
    """Every point less the first, by pairs; nothing where runs kept no rows."""
    first, *others = points
    level = next((metric.level for metric in _metrics(points)), Metric.level)
    found = [differences(first.items, point.items, level) for point in others]
    names = [name for name in _cells(points)[0] if all(name in row for row in found)]
    if not names:
        return []
    rows = [
        [*map(str, point.options.values()), *(shown(row[name]) for name in names)]
        for point, row in zip(others, found, strict=True)
    ]
    return ["", PAIRED, "", *_markdown([*first.options, *names], rows)]


def _tables(points: list[Point]) -> Iterator[Table]:
    """Metrics down, and policies across by their options, as many as fit 80 columns."""
    head, rows = _cells(points)
    swept = len(points[0].options)
    for start in range(0, len(rows), _ACROSS):
        some = rows[start : start + _ACROSS]
        heads = ("\n".join(row[:swept]) for row in (head, *some))
        table = number_table(*heads, title="Sweep: policies on held-out prompts")
        for name, *cells in zip(head[swept:], *(row[swept:] for row in some), strict=True):
            table.add_row(name, *(re.sub(r" (?=[\[(])", "\n", cell) for cell in cells))
        yield table


def _markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _findings(points: list[Point]) -> list[str]:
    """What the paper found for the options that were varied."""
    return [PAPER[option].finding for option in points[0].options if option in PAPER]


def _write_csv(points: list[Point], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        numbers = [item.name for item in fields(Metric)]
        writer.writerow([*points[0].options, "policy", "metric", *numbers])
        for point in points:
            for policy, found in point.metrics.items():
                for name, metric in found.items():
                    writer.writerow([*point.options.values(), policy, name, *astuple(metric)])
