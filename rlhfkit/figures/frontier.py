"""The policies that stage rl compared: the judge's score against KL, and which one is kept."""

from math import sqrt
from pathlib import Path
from statistics import stdev
from typing import Any

from rlhfkit import figures
from rlhfkit.context import Context
from rlhfkit.storage.frontier import Frontier, read_frontier


def draw(context: Context) -> list[Path]:
    """The picture's files; none for a run that keeps its last policy."""
    frontier = read_frontier(context.run_dir)
    if frontier is None:
        return []
    figure, axes = figures.new()
    plot(axes, frontier)
    axes.set_title(f"{context.config.run_name}: policies on prompts set apart")
    return figures.save(context, figure, "frontier")


def plot(axes: Any, frontier: Frontier) -> None:
    """Each candidate with its iteration and one standard error of its mean."""
    found = frontier.candidates
    kls, scores = [item.kl for item in found], [item.score for item in found]
    errors = [stdev(item.scores) / sqrt(len(item.scores)) for item in found]
    axes.errorbar(kls, scores, errors, marker="o", color="C0", elinewidth=1, label="± 1 SE")
    for item in found:
        place = (item.kl, item.score)
        axes.annotate(
            str(item.iteration), place, (5, 4), textcoords="offset points", fontsize="small"
        )
    kept = frontier.kept
    label = f"kept: iteration {kept.iteration}"
    axes.scatter([kept.kl], [kept.score], s=120, marker="*", color="C1", zorder=3, label=label)
    axes.set_xlabel("KL to the SFT model, nats an answer")
    axes.set_ylabel(frontier.judge)
    axes.legend(fontsize="small", frameon=False)
