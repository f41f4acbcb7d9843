"""The plot of a sweep: measures against the option that was varied, and the paper's curve."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlhfkit.figures.paired import Items, means, pooled
from rlhfkit.figures.paper_curves import PAPER, PaperCurve
from rlhfkit.reporting import Metrics, confidence
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.types import Metric

MEASURES = {
    "win_rate": "win rate against SFT",
    "kl": "KL to SFT (nats per completion)",
    "pretraining_loss": "held-out pretraining loss\n(nats per token)",
}
"""What is drawn where a run has it: the policy's, with the SFT model's as a line."""


@dataclass(frozen=True)
class Point:
    """One run."""

    run: RunDir

    options: dict[str, Any]
    """What the runs differ in, by the names of `stage.json`."""

    metrics: Metrics

    items: Items = field(default_factory=dict)
    """What its policy's metrics are taken over; empty where the run kept no rows."""

    repeats: Sequence["Point"] = ()
    """The runs of several seeds that this one is the mean of."""


def over_seeds(points: list[Point]) -> list[Point]:
    """Runs that differ in the seed alone as one: means, with intervals over items whose values are
    the seeds' means. The points as they are where nothing else differs, or a run kept no rows."""
    if "seed" not in points[0].options or len(points[0].options) == 1:
        return points
    groups: dict[str, list[Point]] = {}
    for point in points:
        others = {key: value for key, value in point.options.items() if key != "seed"}
        groups.setdefault(repr(others), []).append(point)
    merged = [_merged(group) for group in groups.values()]
    return merged if all(point.items for point in merged) else points


def _merged(group: list[Point]) -> Point:
    options = {key: value for key, value in group[0].options.items() if key != "seed"}
    items = pooled([point.items for point in group])
    level = next((metric.level for metric in group[0].metrics.get("rl", {}).values()), Metric.level)
    return Point(group[0].run, options, {"rl": means(items, level)}, items, group)


def common_sft(points: list[Point]) -> dict[str, Metric]:
    """The SFT model's metrics when all runs have the same one, else none."""
    records = (point.run.record("sft") for point in points)
    same = len({record.digest if record else None for record in records}) == 1
    return points[0].metrics.get("sft", {}) if same else {}


def draw(points: list[Point], path: Path) -> bool:
    """Write the picture; False, and none, where the runs differ in more than one number."""
    option, *others = points[0].options
    values = [point.options[option] for point in points]
    measures = [name for name in MEASURES if all(name in _of_rl(point) for point in points)]
    if others or not measures or not all(isinstance(value, int | float) for value in values):
        return False
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, found = plt.subplots(
        1, len(measures), figsize=(4.8 * len(measures), 4), layout="constrained", squeeze=False,
        sharex=True,
    )  # fmt: skip
    curve = PAPER.get(option, PaperCurve(""))
    for axes, measure in zip(found[0], measures, strict=True):
        _panel(axes, points, values, measure)
        axes.set_xlabel(option)
        _paper(axes, curve, rated=measure == "win_rate")
        axes.legend(loc="best", fontsize=8)
        _scale(axes, [*values, *curve.points])
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return True


def _of_rl(point: Point) -> Any:
    return point.metrics.get("rl", {})


def _panel(axes: Any, points: list[Point], values: list[float], measure: str) -> None:
    metrics = [_of_rl(point)[measure] for point in points]
    below = [metric.value - metric.low for metric in metrics]
    above = [metric.high - metric.value for metric in metrics]
    heights = [metric.value for metric in metrics]
    label = f"here, {confidence(metrics)}"
    axes.errorbar(values, heights, yerr=[below, above], marker="o", capsize=3, label=label)
    seeds = [
        (value, _of_rl(run)[measure].value)
        for value, point in zip(values, points, strict=True)
        for run in point.repeats
    ]
    if seeds:
        axes.plot(*zip(*seeds, strict=True), "x", color="0.4", label="each seed")
    sft = common_sft(points).get(measure)
    if sft or measure == "win_rate":
        level = sft.value if sft else 0.5  # a model ties with itself
        axes.axhline(level, color="0.7", linewidth=1, label="SFT model")
    axes.set_ylabel(MEASURES[measure])


def _scale(axes: Any, values: list[float]) -> None:
    """A tick per value; logarithmic where they span decades, with 0 at the left end."""
    ticks = sorted(set(values))
    positive = [value for value in ticks if value > 0]
    if positive and ticks[0] >= 0 and ticks[-1] > 50 * positive[0]:
        axes.set_xscale("symlog", linthresh=positive[0])
        axes.set_xlim(-0.2 * positive[0], 1.5 * ticks[-1])
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks], minor=False)
    axes.minorticks_off()
    axes.tick_params(axis="x", rotation=45)


def _paper(axes: Any, curve: PaperCurve, *, rated: bool) -> None:
    """The paper's ratings on an axis of their own beside the win rate."""
    if curve.points and rated:
        right = axes.twinx()
        right.plot(*zip(*curve.points.items(), strict=True), "s--", color="tab:orange", alpha=0.7)
        right.set_ylabel(curve.scale, color="tab:orange")
    if curve.starts is not None:
        label = f"the paper: enough from {curve.starts:g} on"
        axes.axvline(curve.starts, color="tab:orange", linestyle="--", alpha=0.7, label=label)
