"""Did it help? In sentences, the attack on the first one right behind it."""

from collections import defaultdict
from collections.abc import Sequence

from rlhfkit.intervals import interval
from rlhfkit.pages.contents import Duel, RunContents
from rlhfkit.reporting import toy_tastes
from rlhfkit.types import Metric

TOY_TASTES = (
    "These answers were judged by simulated labelers, a few rules that were written for the "
    "quickstart's prompts and know nothing of this data."
)

_RESAMPLES = 2000
_FEW = 10
"""Fewer prompts than this say nothing about a part of them."""


def verdict(run: RunContents) -> list[str]:
    """The sentences, the most important first."""
    rate = run.metrics.get("rl", {}).get("win_rate")
    if rate is None:
        return [_without_win_rate(run)]
    judges = "the simulated labelers judge" if run.simulated else "the labelers judge"
    toy = toy_tastes(str(run.settings.get("labeler.name")), run.sources)
    said = [TOY_TASTES] if toy else []
    said += [f"{_claim(run.optimizer, rate)}: {_share(rate)} held-out prompts, as {judges}."]
    said += _attack(run, rate)
    base = run.metrics.get("base", {}).get("win_rate")
    if base is not None:
        said.append(f"The untouched base model is preferred to SFT at {_share(base)}.")
    said += _kept(run)
    if {"rl", "sft"} <= run.words.keys():
        own, sft = run.words["rl"], run.words["sft"]
        said.append(
            f"{run.optimizer}'s answers have {own:.1f} words on average, the SFT model's {sft:.1f}."
        )
    if run.simulated:
        said.append(
            "A small-scale run with simulated labelers: it shows that the loop works, not how good "
            "a model is."
        )
    return said


def where_both_ended(duels: Sequence[Duel]) -> Metric | None:
    """The win rate over prompts whose answers both ended by themselves; None for too few."""
    by_prompt: defaultdict[str, list[float]] = defaultdict(list)
    for duel in duels:
        if duel.both_ended:
            by_prompt[repr(duel.prompt)].append(duel.preferred)
    if len(by_prompt) < _FEW:
        return None
    means = [sum(shares) / len(shares) for shares in by_prompt.values()]
    return interval(means, 0.95, _RESAMPLES, seed=0)


def _without_win_rate(run: RunContents) -> str:
    if not run.metrics:
        return "This run has not been evaluated, so nothing can be said of its policy."
    return "No win rate was measured, so whether the policy is preferred cannot be said."


def _claim(name: str, rate: Metric) -> str:
    if rate.low > 0.5:
        return f"{name} is preferred to the SFT model"
    if rate.high < 0.5:
        return f"The SFT model is preferred to {name}"
    return f"Whether {name} is better than the SFT model cannot be told"


def _attack(run: RunContents, rate: Metric) -> list[str]:
    """What is left of a gain where it cannot come from answers that end."""
    ended = where_both_ended(run.duels)
    if ended is None:
        return []
    said = f"Where both answers end by themselves it is {_share(ended)}"
    if rate.low > 0.5 and ended.low <= 0.5:
        return [f"{said}: the gain may be no more than answers that end."]
    return [f"{said}."]


def _kept(run: RunContents) -> list[str]:
    """Constraints that are kept and questions that are answered right, where they were measured."""
    models = {"rl": run.optimizer, "sft": "SFT", "base": "the untouched base model"}
    kinds = {
        "rubric_greedy": ("keeps every constraint of {:.0%} of {} prompts", " {} of {:.0%}"),
        "closed_questions_greedy": ("answers {:.0%} of {} closed questions right", " {} {:.0%}"),
    }
    said = []
    for metric, (first, others) in kinds.items():
        found = {who: run.metrics.get(who, {}).get(metric) for who in models}
        own = found.pop("rl")
        if own is not None:
            rest = [others.format(models[who], m.value) for who, m in found.items() if m]
            words = [f"{models['rl']} {first.format(own.value, own.count)}", *rest]
            said.append(f"Read greedily, {','.join(words)}{_by_pairs(run, metric)}.")
    return said


def _by_pairs(run: RunContents, metric: str) -> str:
    """The policy's differences from SFT and base over the same prompts, which rates alone leave
    open."""
    names = {"sft": "SFT", "base": "the base model"}
    deltas = run.tax[metric].deltas if metric in run.tax else {}
    found = [
        f"less {name} {_points(deltas[who]['rl'])}"
        for who, name in names.items()
        if "rl" in deltas.get(who, {})
    ]
    return f"; by pairs {run.optimizer} {' and '.join(found)}" if found else ""


def _points(difference: Metric) -> str:
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    return f"{value:+.0f} points [{low:+.0f}, {high:+.0f}]"


def _share(rate: Metric) -> str:
    return f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {rate.count}"
