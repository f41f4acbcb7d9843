"""What people said, in numbers: who ranked how much, how far they agree, the human win rates."""

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.table import Table

from rlhfkit.console import console
from rlhfkit.intervals import interval
from rlhfkit.labelling import tables as agreement
from rlhfkit.labelling.agreement import measure
from rlhfkit.labelling.invitations import GOLD
from rlhfkit.labelling.items import Item
from rlhfkit.labelling.judged import Judged
from rlhfkit.labelling.records import StoredJudgement
from rlhfkit.labelling.store import Store
from rlhfkit.types import Metric

Rows = list[dict[str, Any]]
"""Of a table, each with the same columns."""

LEVEL = 0.95
RESAMPLES = 2000


def tables(store: Store) -> dict[str, Rows]:
    """By title, for the screen and the console."""
    judged, items = store.judged(), store.items()
    return {
        "Who ranked how much": _work(judged),
        **_agreement(judged),
        "Human win rates over SFT": [
            {"policy": policy, "preferred": _shown(metric), "prompts": metric.count}
            for policy, metric in win_rates(items, judged).items()
        ],
    }


def _agreement(judged: Sequence[StoredJudgement]) -> dict[str, Rows]:
    said = [_compared(one) for one in judged if one.ranks]
    known = {one.item: one.ranks for one in said if one.labeler == GOLD and not one.repeat}
    found = measure([one for one in said if one.labeler != GOLD], known)
    summary = [{"": name, "value": value} for name, value in agreement.summary(found)]
    labelers = [dict(zip(agreement.HEAD, row, strict=True)) for row in agreement.labelers(found)]
    return {"How far labelers agree": summary, "Each labeler": labelers}


def _compared(one: StoredJudgement) -> Judged:
    """As agreement is measured on it."""
    here = one.seconds > 0
    shown, seconds = (one.shown, one.seconds) if here else (None, None)
    return Judged(one.labeler, one.item, one.ranks, shown, seconds, one.repeat)


def show_results(store: Store, as_json: bool) -> None:
    """Print the tables."""
    if as_json:
        print(json.dumps(tables(store), indent=2, ensure_ascii=False))
        return
    for title, rows in tables(store).items():
        if not rows:
            console.print(f"{title}: nothing yet", markup=False)
            continue
        table = Table(*rows[0], title=title, title_justify="left")
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        console.print(table)


def win_rates(items: Mapping[str, Item], judged: Sequence[StoredJudgement]) -> dict[str, Metric]:
    """By policy the share of labelers who prefer its answer to the SFT model's, a tie as one half;
    independent items are the prompts."""
    shares: dict[str, dict[str, list[float]]] = {}
    for one in judged:
        if one.source == "evaluate" and one.ranks and not one.repeat:
            item = items[one.item]
            own, sft = one.ranks
            share = 0.5 if own == sft else float(own < sft)
            by_prompt = shares.setdefault(item.policies[0], {})
            by_prompt.setdefault(repr(item.prompt), []).append(share)
    return {
        policy: interval([sum(own) / len(own) for own in found.values()], LEVEL, RESAMPLES, seed=0)
        for policy, found in shares.items()
    }


def _work(judged: Sequence[StoredJudgement]) -> Rows:
    own: dict[str, list[StoredJudgement]] = {}
    for one in judged:
        own.setdefault(one.labeler, []).append(one)
    return [
        {
            "labeler": name,
            "ranked": sum(not one.skipped and not one.repeat for one in said),
            "repeats": sum(one.repeat for one in said),
            "skipped": sum(bool(one.skipped) for one in said),
            "median seconds": round(median(one.seconds for one in said), 1),
        }
        for name, said in own.items()
    ]


def _shown(metric: Metric) -> str:
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
