"""Evaluated runs item by item: the same prompts and texts are asked in all of them, so differences
between runs are taken by pairs, and runs that differ in the seed alone are averaged by item."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from rlhfkit.intervals import interval
from rlhfkit.reporting import read_metrics
from rlhfkit.storage.catalogue import ROWS
from rlhfkit.storage.run_dir import RunDir, read_jsonl
from rlhfkit.types import Metric

Items = Mapping[str, Mapping[str, float]]
"""By metric and item, a prompt or a question, its mean over the answers to it."""

RESAMPLES = 2000


def items_of(run: RunDir, policy: str = "rl") -> Items:
    """What a policy's metrics are taken over, from the rows that the stage evaluate keeps. Their
    other columns are none: `tie` is of another comparison in each row."""
    metrics = read_metrics(run).get(policy, {})
    found: defaultdict[str, defaultdict[str, list[float]]]
    found = defaultdict(lambda: defaultdict(list))
    for file in sorted((run.stage_dir("evaluate") / ROWS).glob("*.jsonl")):
        for row in read_jsonl(file):
            if row.get("policy") != policy:
                continue
            item = json.dumps([row.get("prompt"), row.get("item")], sort_keys=True)
            for name in metrics:
                if isinstance(row.get(name), int | float):
                    found[name][item].append(row[name])
    return {
        name: {item: fmean(values) for item, values in found[name].items()}
        for name in metrics
        if name in found
    }


def pooled(runs: Sequence[Items]) -> Items:
    """Means over runs, of the metrics and items that all of them have."""
    return {
        name: {
            item: fmean(run[name][item] for run in runs)
            for item in values
            if all(item in run[name] for run in runs)
        }
        for name, values in runs[0].items()
        if all(name in run for run in runs)
    }


def means(items: Items, level: float) -> dict[str, Metric]:
    """Each metric with its interval over items."""
    return {name: _interval([*values.values()], level) for name, values in items.items() if values}


def differences(items: Items, other: Items, level: float) -> dict[str, Metric]:
    """By how much the other's metrics are above these, over the items that both have."""
    pairs = {
        name: [other[name][item] - value for item, value in values.items() if item in other[name]]
        for name, values in items.items()
        if name in other
    }
    return {name: _interval(values, level) for name, values in pairs.items() if values}


def _interval(values: Sequence[float], level: float) -> Metric:
    return interval(values, level, RESAMPLES, seed=0)
