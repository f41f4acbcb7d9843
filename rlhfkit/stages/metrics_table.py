"""What an evaluation found, as a table for the console: the main numbers, in words."""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.table import Table

from rlhfkit.console import number_table
from rlhfkit.reporting import METRIC_WORDS, Metrics, confidence, counts, main_first, shown

_ACROSS = 3
"""Policies side by side."""

_NAME_WIDTH = 26


def metrics_tables(metrics: Metrics) -> list[Table]:
    """Metrics down, policies across, each as a value over its interval. What has no metric in
    common with others, as a reward model, has a table of its own.

    Left out are a metric's own parts (`rubric/form`) where the whole is there, and paired
    differences, which are the alignment tax.
    """
    return [
        _table({name: metrics[name] for name in group[start : start + _ACROSS]})
        for group in _groups(metrics)
        for start in range(0, len(group), _ACROSS)
    ]


def _table(metrics: Metrics) -> Table:
    every = [metric for found in metrics.values() for metric in found.values()]
    title = f"values, {confidence(every)} intervals (how many)"
    table = number_table("metric", *metrics, title=title)
    for name in _main(list(dict.fromkeys(name for found in metrics.values() for name in found))):
        found = [own.get(name) for own in metrics.values()]
        cells = (shown(metric).replace(" ", "\n", 1) for metric in found)
        table.add_row(_label(name, counts(found)), *cells)
    return table


def _main(names: Sequence[str]) -> Iterator[str]:
    for name in main_first(names):
        part, paired = name.rpartition("/")[0] in names, "_minus_" in name
        if name in METRIC_WORDS or not (part or paired):
            yield name


def _label(name: str, count: str) -> str:
    """Its words over its name, which is broken where one of its words ends, and its count."""
    count = count.replace(" ", "\N{NO-BREAK SPACE}")
    lines = wrap(re.sub(r"([_/])", r"\1 ", f"{name} ({count})"), _NAME_WIDTH)
    broken = [re.sub(r"([_/]) ", r"\1", line) for line in lines]
    return "\n".join([*filter(None, [METRIC_WORDS.get(name)]), *broken])


def _groups(metrics: Metrics) -> list[list[str]]:
    """Policies that share a metric, directly or through others."""
    groups: list[list[str]] = []
    for policy, found in metrics.items():
        joined = [group for group in groups if any(found.keys() & metrics[own] for own in group)]
        apart = [group for group in groups if group not in joined]
        groups = [*apart, [name for group in joined for name in group] + [policy]]
    return [group for group in groups if any(metrics[name] for name in group)]
