"""Figures as inline SVG that takes the page's font and colours, in the light and in the dark."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

import matplotlib.pyplot as plt
from markupsafe import Markup

from rlhfkit import figures
from rlhfkit.figures import frontier, headline
from rlhfkit.pages.contents import RunContents
from rlhfkit.reporting import confidence
from rlhfkit.storage.frontier import Frontier

_INK = "#010203"
"""Stands for the page's own text colour until the SVG is written."""

_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "legend.framealpha": 0,
    "axes.spines.right": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
}
_CURVES = {
    "objective/scores": "score",
    "objective/kl": "KL to the SFT model, nats",
    "response/length": "tokens an answer",
    "response/eos_share": "share that ends by itself",
    "policy/entropy_avg": "entropy, nats a token",
    "val/explained_variance": "explained variance of values",
}
_SMOOTHING = 0.6
"""Weight of the past in the moving average that is drawn over the raw values."""


def charts(run: RunContents) -> dict[str, Markup]:
    """The figures that the run has numbers for, by title."""
    drawn: dict[str, Markup] = {}
    with plt.rc_context(_STYLE):
        if "win_rate" in run.metrics.get("rl", {}):
            drawn["Preferred to the SFT model, and the paper's figure 1"] = _headline(run)
        if len(run.curves) > 1:
            drawn["Reward against KL"] = _frontier(run.curves)
        if run.frontier is not None:
            drawn[f"Which policy is kept. {run.frontier.sentence()}."] = _candidates(run.frontier)
        if len(run.curves) > 1:
            drawn["RL, iteration by iteration"] = _training(run.curves)
    return drawn


def _headline(run: RunContents) -> Markup:
    figure, (own, paper) = figures.new(columns=2)
    names = {"base": "raw", "sft": "SFT", "rl": run.optimizer}
    rates = {
        names.get(policy, policy): found.get("win_rate")
        for policy, found in run.metrics.items()
        if policy == "sft" or "win_rate" in found
    }
    headline.bars(own, dict(sorted(rates.items(), key=lambda i: i[1].value if i[1] else 0.5)))
    level = confidence(rate for rate in rates.values() if rate)
    own.set_title(f"this run ({'simulated labelers' if run.simulated else 'labelers'}, {level})")
    headline.paper_lines(paper)
    paper.set_title("Ouyang et al. 2022, against 175B SFT")
    for axes in (own, paper):
        axes.axhline(0.5, color="0.6", linewidth=1, zorder=0)
        axes.set_ylim(0, 1)
    return _svg(figure, "Win rates against the SFT model with intervals, and the paper's")


def _frontier(rows: Sequence[dict[str, float]]) -> Markup:
    figure, axes = figures.new()
    kl = [row["objective/kl"] for row in rows]
    scores = [row["objective/scores"] for row in rows]
    axes.scatter(kl, scores, s=12, color="C0", alpha=0.35, label="iterations")
    axes.plot(smoothed(kl), smoothed(scores), color="C0", label="moving average")
    axes.annotate("start", (smoothed(kl)[0], smoothed(scores)[0]), color=_INK)
    axes.annotate("end", (smoothed(kl)[-1], smoothed(scores)[-1]), color=_INK)
    axes.set_xlabel("KL to the SFT model, nats an answer")
    axes.set_ylabel("score")
    axes.legend(fontsize="small", frameon=False)
    return _svg(figure, "The score of RL's answers against their KL to the SFT model")


def _candidates(found: Frontier) -> Markup:
    figure, axes = figures.new()
    frontier.plot(axes, found)
    return _svg(figure, "Score of the policies that were compared against their KL to SFT")


def _training(rows: Sequence[dict[str, float]]) -> Markup:
    shown = {name: words for name, words in _CURVES.items() if any(name in row for row in rows)}
    figure, panels = plt.subplots(
        -(-len(shown) // 3), 3, figsize=(11, 2.6 * -(-len(shown) // 3)), layout="constrained"
    )
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    for (name, words), axes in zip(shown.items(), panels.flat, strict=False):
        known = [row for row in rows if name in row]
        episodes, values = [row["episode"] for row in known], [row[name] for row in known]
        axes.plot(episodes, values, color="C0", alpha=0.3)
        axes.plot(episodes, smoothed(values), color="C0")
        axes.set_title(words, fontsize=10)
        axes.set_xlabel("episodes")
    return _svg(figure, "Curves of stage rl")


def smoothed(values: Sequence[float]) -> list[float]:
    """Exponential moving average, its start corrected as Adam's is."""
    averages, average, weight = [], 0.0, 0.0
    for value in values:
        average = _SMOOTHING * average + (1 - _SMOOTHING) * value
        weight = _SMOOTHING * weight + (1 - _SMOOTHING)
        averages.append(average / weight)
    return averages


def _svg(figure: Any, title: str) -> Markup:
    file = StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    label = f'<svg role="img" aria-label="{title}" '
    return Markup(text.replace("<svg ", label, 1))  # matplotlib's own text, names escaped by it
