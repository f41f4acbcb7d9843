"""What people said, in numbers: who ranked how much, how far they agree, the human win rates."""

import json
from collections.abc import Sequence
from statistics import median
from typing import Any

from rlhfkit.console import console, number_table
from rlhfkit.labelling import tables as agreement
from rlhfkit.labelling.human_evaluation import agreement_of, compared_now, ratings, win_rates
from rlhfkit.labelling.records import StoredJudgement
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import FLAGS
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.types import Metric

Rows = list[dict[str, Any]]
"""Of a table, each with the same columns."""


def tables(store: Store) -> dict[str, Rows]:
    """By title, for the screen and the console."""
    judged, items = store.judged(), store.items()
    present = compared_now(RunDir(store.path.parent))
    now = [one for one in judged if one.item in present]
    rated = ratings(items, now)
    return {
        "Who ranked how much": _work(judged),
        **_agreement(judged),
        "Human win rates over SFT": [
            {"policy": policy, "preferred": _shown(metric), "prompts": metric.count}
            for policy, metric in win_rates(items, now).items()
        ],
        "What people say of the answers": [
            {
                "policy": policy,
                "": FLAGS.get(name, f"{name}, 1 to 7"),
                "mean": _shown(metric),
                "above SFT": _shown(rated.differences.get(policy, {}).get(name)),
                "prompts": metric.count,
            }
            for policy, found in rated.ratings.items()
            for name, metric in found.items()
        ],
    }


def _agreement(judged: Sequence[StoredJudgement]) -> dict[str, Rows]:
    found = agreement_of(judged)
    summary = [{"": name, "value": value} for name, value in agreement.summary(found)]
    labelers = [dict(zip(agreement.HEAD, row, strict=True)) for row in agreement.labelers(found)]
    return {"How far labelers agree": summary, "Each labeler": labelers}


def show_results(store: Store, as_json: bool) -> None:
    """Print the tables."""
    if as_json:
        print(json.dumps(tables(store), indent=2, ensure_ascii=False))
        return
    for title, rows in tables(store).items():
        if not rows:
            console.print(f"{title}: nothing yet", markup=False)
            continue
        table = number_table(*rows[0], title=title)
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        console.print(table)


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


def _shown(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
