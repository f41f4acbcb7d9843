"""How time and memory grow, beside how they must.

    python benchmarks/scaling.py [--axes batch length ...] [--repetitions 3] [--out DIR]

A small model with random weights; nothing is downloaded. Times are measured, the points of an axis
in turns; memory is what `rlhfkit plan` counts, which is exact and needs no device. Slopes are of
straight lines through the logarithms: cost ~ size ** slope.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from gpu_memory import in_fresh_process
from memory_phases import STAGES, DeviceMeter
from memory_setup import context_of
from parsers import parser_of
from rich import box
from rich.table import Table
from roofline import Updates
from scaling_axes import AXES, Axis, Point, Theory
from summary import slope

from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.planning.meter import Rates
from rlhfkit.planning.phases import Lengths
from rlhfkit.planning.plan import plan_run

MARGIN = 0.1
"""By which a fitted slope may lie above the theory: few points, and clocks vary."""


def main() -> int:
    """The exit status: 0 whatever the numbers are."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--axes", nargs="+", choices=AXES, default=list(AXES), help="what is varied"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of each point")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    options = parser.parse_args()
    found = {}
    for name in options.axes:
        console.print(name)
        planned = in_fresh_process("scaling", "plan", name)
        timed = in_fresh_process("scaling", "measure", name, options)
        found[name] = {"sizes": sizes(AXES[name]), "bytes": planned, "seconds": timed}
    console.print(table(found))
    for name in found:
        console.print(reasons(AXES[name]), soft_wrap=True)
    hardware = in_fresh_process("hardware", "header", options.device, options.seed)
    settings = {"repetitions": options.repetitions, "seed": options.seed}
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"hardware": hardware, "settings": settings, "axes": found}
    (options.out / "scaling.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def plan(name: str) -> list[float]:
    """Bytes at every point of an axis, of the parts that it is about."""
    axis = AXES[name]
    counted = []
    for point in axis.points:
        with tempfile.TemporaryDirectory() as folder:
            context = _context(point, Path(folder), "cpu")
            stages = {point.stage: STAGES[point.stage]}
            found = plan_run(context, Rates(flops=1.0, bytes=1.0), stages)
        parts = found[point.phase].parts
        counted.append(sum(size for part, size in parts.items() if axis.counts(part)))
    return counted


def measure(name: str, options: argparse.Namespace) -> list[list[float]]:
    """Seconds of every repetition at every point of an axis; the first, which warms up, is left
    out. Empty for an axis of memory alone."""
    axis = AXES[name]
    if axis.time is None:
        return []
    torch.manual_seed(options.seed)
    seconds: list[list[float]] = [[] for _ in axis.points]
    for _ in range(options.repetitions + 1):
        for point, times in zip(axis.points, seconds, strict=True):
            times.append(_seconds(point, options.device))
    return [times[1:] for times in seconds]


def sizes(axis: Axis) -> list[float]:
    """What the points of an axis are called by."""
    return [point.size for point in axis.points]


def table(found: dict[str, dict[str, Any]]) -> Table:
    """A row for each axis and kind of cost."""
    made = Table(title="cost ~ size ** slope", box=box.SIMPLE)
    for column in ("size", "from", "to", "cost", "slope", "theory", ""):
        made.add_column(column)
    for name, item in found.items():
        axis, (low, *_, high) = AXES[name], item["sizes"]
        for cost, values in _costs(item).items():
            theory: Theory = getattr(axis, cost)
            fitted = slope(item["sizes"], values)
            mark = "" if fitted <= theory.most + MARGIN else "faster"
            ends = (f"{low:.3g}", f"{high:.3g}")
            made.add_row(axis.what, *ends, cost, f"{fitted:.2f}", theory.text, mark)
    return made


def reasons(axis: Axis) -> str:
    """Why costs must grow as the theory says."""
    theories = {"memory": axis.memory, "time": axis.time}
    whys = [f"{cost} {theory.text}, {theory.why}" for cost, theory in theories.items() if theory]
    return f"{axis.what}: {'; '.join(whys)}"


def _costs(item: dict[str, Any]) -> dict[str, list[float]]:
    """Of every point: bytes, and median seconds where time was taken."""
    costs = {"memory": item["bytes"]}
    if item["seconds"]:
        costs["time"] = [statistics.median(times) for times in item["seconds"]]
    return costs


def _seconds(point: Point, device: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        context = _context(point, Path(folder), device)
        meter = DeviceMeter(torch.device(device))
        getattr(Updates(context, Lengths.of(context.config), meter), point.stage)()
    return meter.readings[point.phase]["seconds"]


def _context(point: Point, folder: Path, device: str) -> Context:
    return context_of(point.shape, point.overrides, folder, device.partition(":")[0], device)


if __name__ == "__main__":
    sys.exit(main())
