"""Gold and proxy reward against the square root of the KL (Gao et al. 2022, figure 1).

Drawn where `reward=gold` was measured: by RL at every iteration, and for the best of n by
`evaluator=best_of_n`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlhfkit import figures
from rlhfkit.context import Context
from rlhfkit.figures.overoptimization import FORMS, Fit, fit
from rlhfkit.storage.catalogue import EVALUATION_FILE, METRICS_FILE
from rlhfkit.storage.run_dir import as_written, read_json, read_jsonl

GOLD = "reward/gold"
LAW = (
    "With d the square root of the KL: R(d) = d (alpha - beta ln d) for RL, d (alpha - beta d) for "
    "best-of-n (Gao et al. 2022); ± one standard error."
)


@dataclass(frozen=True)
class Curve:
    """One run under one way to optimize."""

    run: str
    form: str
    """Name of the curve's form, one of `FORMS`."""

    d: list[float]
    """Square root of the KL to the initial policy, whose own point comes first."""

    gold: list[float]
    proxy: list[float]
    """What is optimized: the rewards' weighted sum."""

    fit: Fit | None
    """Name of the gold reward."""


def read(context: Context) -> list[Curve]:
    """This run's curves and those of `stage.report.runs`; none where gold was not measured."""
    weights = {name: entry.weight for name, entry in context.config.reward.items()}
    roots = [context.run_dir.root, *map(Path, context.config.stage.report.runs)]
    found = [curve for root in roots for curve in (_rl(root), _best_of_n(root, weights))]
    return [curve for curve in found if curve is not None]


def draw(context: Context, curves: list[Curve]) -> list[Path]:
    """The picture's files: a panel for each way to optimize, a colour for each run."""
    forms = [form for form in FORMS if any(curve.form == form for curve in curves)]
    if not forms:
        return []
    figure, panels = figures.new(columns=len(forms))
    for form, axes in zip(forms, np.atleast_1d(panels), strict=True):
        for place, curve in enumerate(curve for curve in curves if curve.form == form):
            _draw(axes, curve, f"C{place}")
        axes.set_title(f"{context.config.run_name}: {form}")
        axes.set_xlabel("square root of the KL (nats)")
        axes.set_ylabel("reward less the initial policy's")
        axes.legend(fontsize="small")
    return figures.save(context, figure, "overoptimization")


def table(curves: list[Curve]) -> list[str]:
    """The fitted parameters with their standard errors, as lines of a page."""
    if not curves:
        return []
    lines = ["", "## Gold reward", "", "| run | optimized by | points | alpha | beta |"]
    lines.append("|---|---|---|---|---|")
    for curve in curves:
        found = curve.fit
        alpha = f"{found.alpha:.3g} ± {found.alpha_error:.2g}" if found else "too few points"
        beta = f"{found.beta:.3g} ± {found.beta_error:.2g}" if found else "too few points"
        lines.append(f"| {curve.run} | {curve.form} | {len(curve.d)} | {alpha} | {beta} |")
    return [*lines, "", LAW]


def _rl(root: Path) -> Curve | None:
    """A point for every iteration. A KL estimated below 0 counts as 0."""
    path = root / "rl" / METRICS_FILE
    with as_written(path):
        rows = [row for row in (read_jsonl(path) if path.exists() else []) if GOLD in row]
        # TRL's trainers may log no KL
        rows = [row for row in rows if "objective/kl" in row]
        points = [(row["objective/kl"], row[GOLD], row["objective/scores"]) for row in rows]
    return _curve(root, "RL", points)


def _best_of_n(root: Path, weights: Mapping[str, float]) -> Curve | None:
    """A point for every n; the SFT model is n = 1."""
    path = root / "evaluate" / EVALUATION_FILE
    with as_written(path):
        found = read_json(path) if path.exists() else {}
        chosen = [name for name in found if name.startswith("best-of-")]
        points = [
            (item["kl"]["value"], item[GOLD]["value"], _proxy(item, weights))
            for item in (found[name] for name in ("sft", *chosen) if chosen)
            if GOLD in item
        ]
    return _curve(root, "best-of-n", points)


def _proxy(metrics: dict[str, Any], weights: Mapping[str, float]) -> float:
    measured = {name: metrics.get(f"reward/{name}", {"value": 0.0})["value"] for name in weights}
    return float(sum(weights[name] * value for name, value in measured.items()))


def _curve(root: Path, form: str, points: list[tuple[float, float, float]]) -> Curve | None:
    if not points:
        return None
    kl, gold, proxy = (list(column) for column in zip(*points, strict=True))
    d = [math.sqrt(max(value, 0.0)) for value in kl]
    return Curve(root.resolve().name, form, d, gold, proxy, fit(form, d, gold))


def _draw(axes: Any, curve: Curve, colour: str) -> None:
    start = curve.fit.start if curve.fit else curve.gold[0]
    gold = [value - start for value in curve.gold]
    proxy = [value - curve.proxy[0] for value in curve.proxy]
    axes.scatter(curve.d, gold, color=colour, label=f"gold, {curve.run}")
    axes.scatter(curve.d, proxy, color=colour, marker="x", label=f"proxy, {curve.run}")
    if curve.fit:
        along = np.linspace(0, max(curve.d), 100)
        axes.plot(along, curve.fit.at(along) - start, color=colour)
