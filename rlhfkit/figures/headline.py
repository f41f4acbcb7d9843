"""InstructGPT's figure 1 of this run: win rates against SFT, with the paper's own beside them.

Drawn where the policy `prompted` was judged too, which nothing but this figure needs.
"""

from pathlib import Path
from typing import Any

from matplotlib import rcParams

from rlhfkit import figures
from rlhfkit.config.stages import PROMPTED
from rlhfkit.context import Context
from rlhfkit.reporting import confidence
from rlhfkit.types import Metric

SIZES = ("1.3B", "6B", "175B")
PAPER = {
    "GPT": (0.142, 0.193, 0.240),
    "GPT (prompted)": (0.227, 0.266, 0.411),
    "SFT": (0.348, 0.404, 0.5),
    "PPO": (0.524, 0.578, 0.626),
    "PPO-ptx": (0.527, 0.555, 0.660),
}
"""Ouyang et al. 2022, figure 1, read off (0.005 either way): share of outputs preferred to those of
the 175B SFT model, by size."""

COLOURS = {"raw": "C0", PROMPTED: "C1", "SFT": "C2", "PPO": "C3", "PPO-ptx": "C4"}
"""Colours of this run's bars, as the paper's lines; others are grey."""


def draw(context: Context, metrics: dict[str, dict[str, Metric]]) -> list[Path]:
    """The picture's files; none without win rates of a prompted base model."""
    rates = win_rates(context, metrics)
    if "win_rate" not in metrics.get(PROMPTED, {}):
        return []
    figure, (own, paper) = figures.new(columns=2)
    bars(own, rates)
    level = confidence(rate for rate in rates.values() if rate)
    own.set_title(f"{context.config.run_name} ({_count(rates)} held-out prompts, {level})")
    own.set_ylabel("preferred to this run's SFT model")
    paper_lines(paper)
    paper.set_title("Ouyang et al. 2022, figure 1 (read off)")
    paper.set_ylabel("preferred to the 175B SFT model")
    for axes in (own, paper):
        axes.axhline(0.5, color="0.7", linewidth=1, zorder=0)
        axes.set_ylim(0, 1)
    return figures.save(context, figure, "figure_1")


def win_rates(context: Context, metrics: dict[str, dict[str, Metric]]) -> dict[str, Metric | None]:
    """By the figure's words, the least preferred first; None for SFT, which the others are compared
    with."""
    words = {"base": "raw", "sft": "SFT", "rl": _policy(context)}
    rates: dict[str, Metric | None] = {
        words.get(name, name): found.get("win_rate")
        for name, found in metrics.items()
        if name == "sft" or "win_rate" in found
    }
    return dict(sorted(rates.items(), key=lambda item: item[1].value if item[1] else 0.5))


def _policy(context: Context) -> str:
    """What the run's policy is called: by its optimizer, and whether pretraining is mixed in."""
    optimizer = context.config.optimizer
    mixed = "-ptx" if getattr(optimizer, "ptx_coef", 0) else ""
    return f"{optimizer.name.upper()}{mixed}"


def bars(axes: Any, rates: dict[str, Metric | None]) -> None:
    """Win rates with their intervals; None stands for SFT itself."""
    for place, (name, rate) in enumerate(rates.items()):
        value = rate.value if rate else 0.5
        axes.bar(place, value, color=COLOURS.get(name, "0.6"))
        below, above = (value - rate.low, rate.high - value) if rate else (0.0, 0.0)
        axes.errorbar(place, value, [[below], [above]], color=rcParams["text.color"], capsize=4)
        axes.annotate(f"{value:.2f}", (place, 0.02), ha="center")
    axes.set_xticks(range(len(rates)), list(rates), rotation=20)


def paper_lines(axes: Any) -> None:
    """The paper's curves, by size."""
    for name, values in PAPER.items():
        axes.plot(SIZES, values, marker="o", label=name)
    axes.set_xlabel("size of the policy")
    axes.legend(fontsize="small")


def _count(rates: dict[str, Metric | None]) -> int:
    return max(rate.count for rate in rates.values() if rate)
