"""What RL costs: each policy's paired differences from the base and the SFT model, item by item
(InstructGPT, section 4.2 and table 14)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from rlhfkit.config.gate import REFERENCES
from rlhfkit.console import number_table
from rlhfkit.intervals import interval
from rlhfkit.reporting import Tax, confidence, counts, shown
from rlhfkit.types import Evaluation, Metric, TaxEntry

RESAMPLES = 2_000

Values = dict[str, dict[str, float]]
"""By policy and item."""


def alignment_tax(judged: Mapping[str, Evaluation], level: float, seed: int) -> Tax:
    """By metric, for those that evaluators call better higher or lower."""
    found: Tax = {}
    for evaluation in judged.values():
        for name, better in evaluation.better.items():
            values = _by_item(evaluation.rows, name)
            deltas = {
                reference: {
                    policy: delta
                    for policy, own in values.items()
                    if policy != reference
                    and (delta := _paired(own, values[reference], level, seed))
                }
                for reference in REFERENCES
                if reference in values
            }
            if any(deltas.values()):
                found[name] = TaxEntry(better, deltas)
    return found


def tax_json(tax: Tax) -> dict[str, Any]:
    """As it is stored."""
    return {name: asdict(entry) for name, entry in tax.items()}


def tax_table(tax: Tax) -> Table:
    """Metrics down, the policy's differences across."""
    every = [m for entry in tax.values() for found in entry.deltas.values() for m in found.values()]
    policies = [name for entry in tax.values() for found in entry.deltas.values() for name in found]
    policy = "rl" if "rl" in policies else "sft"
    columns = [name for name in REFERENCES if name != policy]
    title = f"alignment tax: paired differences, {confidence(every)} intervals"
    names = [f"{policy} - {name}" for name in columns]
    table = number_table("metric", "better", "n", *names, title=title)
    for name, entry in tax.items():
        deltas = [entry.deltas.get(reference, {}).get(policy) for reference in columns]
        if any(deltas):
            cells = (shown(delta).replace(" ", "\n", 1) for delta in deltas)
            table.add_row(name, entry.better, counts(deltas), *cells)
    return table


def _by_item(rows: Sequence[Mapping[str, Any]], name: str) -> Values:
    """The mean of each policy's numbers for each item: answers to one question are not
    independent."""
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.get(name) is not None and "item" in row:
            found[row["policy"]][repr(row["item"])].append(float(row[name]))
    return {
        policy: {item: sum(values) / len(values) for item, values in items.items()}
        for policy, items in found.items()
    }


def _paired(
    own: Mapping[str, float], other: Mapping[str, float], level: float, seed: int
) -> Metric | None:
    """Over the items that both have; None without any."""
    differences = [value - other[item] for item, value in own.items() if item in other]
    return interval(differences, level, RESAMPLES, seed) if differences else None
