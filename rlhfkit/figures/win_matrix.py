"""Which policy is preferred to which: every two that evaluator=win_rate compared."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from rich.table import Table

from rlhfkit.console import number_table
from rlhfkit.intervals import interval
from rlhfkit.reporting import confidence
from rlhfkit.storage.catalogue import ROWS
from rlhfkit.storage.run_dir import RunDir, as_written, read_jsonl
from rlhfkit.types import Metric

Matrix = dict[str, dict[str, Metric]]
"""By policy, and by the other one: the share of the judges that prefer the first one's answers."""

RESAMPLES = 2_000
COLUMNS = 4
"""Policies beside each other on the console, so that 80 columns are enough."""


def win_matrix(rows: Sequence[Mapping[str, Any]]) -> Matrix:
    """From the rows of evaluator=win_rate; the independent items are the prompts. A comparison that
    was made one way round stands the other way round, too: a tie is one half to both."""
    shares: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        for name, share in row.items():
            other = "sft" if name == "win_rate" else name.removeprefix("win_rate_vs_")
            if (name == "win_rate" or other != name) and other in row:
                by_prompt = shares.setdefault((row["policy"], other), {})
                by_prompt.setdefault(repr(row["prompt"]), []).append(float(share))
    found: Matrix = {}
    for (policy, other), own in shares.items():
        means = [sum(values) / len(values) for values in own.values()]
        rate = interval(means, Metric.level, RESAMPLES, seed=0)
        found.setdefault(policy, {})[other] = rate
        turned = Metric(1 - rate.value, 1 - rate.high, 1 - rate.low, rate.count, rate.level)
        found.setdefault(other, {}).setdefault(policy, turned)
    return {policy: found[policy] for policy in _in_order(found)}


def read_win_matrix(run: RunDir) -> Matrix:
    """Of a run; empty where nothing was compared."""
    path = run.stage_dir("evaluate") / ROWS / "win_rate.jsonl"
    if not path.exists():
        return {}
    rows = read_jsonl(path)
    with as_written(path):
        return win_matrix(rows)


def win_matrix_tables(found: Matrix) -> list[Table]:
    """For the console: rows are preferred to columns."""
    names, every = list(found), [*chain(*(row.values() for row in found.values()))]
    tables = []
    for start in range(0, len(names), COLUMNS):
        part = names[start : start + COLUMNS]
        title = f"how often the row is preferred to the column, {confidence(every)} intervals"
        table = number_table("policy", *part, title=title)
        for policy, row in found.items():
            table.add_row(policy, *(win_cell(row.get(name)).replace(" ", "\n", 1) for name in part))
        tables.append(table)
    return tables


def win_lines(found: Matrix) -> list[str]:
    """The same as lines of Markdown."""
    if not found:
        return []
    rows = [["preferred to", *found], ["---"] * (len(found) + 1)]
    for policy, row in found.items():
        rows.append([policy, *(win_cell(row.get(other)) for other in found)])
    lines = (f"| {' | '.join(row)} |" for row in rows)
    return ["", "## Which policy is preferred to which", "", *lines]


def win_cell(rate: Metric | None) -> str:
    """A cell of the matrix; empty on the diagonal and for what was not compared."""
    return f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]" if rate else ""


def _in_order(found: Matrix) -> list[str]:
    """The paper's order, opponents last."""
    known = [name for name in ("base", "prompted", "sft", "rl") if name in found]
    return known + [name for name in found if name not in known]
