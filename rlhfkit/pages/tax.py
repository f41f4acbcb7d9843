"""The alignment tax as the paper's table 14 lays it out, with the paper's numbers beside."""

from dataclasses import dataclass

from rlhfkit.figures.table_14 import TABLE_14, PaperRow
from rlhfkit.reporting import Metrics, Tax, shown


@dataclass(frozen=True)
class TaxRow:
    """One metric: what each model gets, and what the policy gains or loses."""

    name: str
    better: str
    n: int
    values: list[str]
    """Of base, SFT and policy."""

    to_base: str
    to_sft: str
    mood: str
    """good or bad where the whole interval to the base model is on one side of 0."""

    paper: PaperRow | None


def tax_rows(metrics: Metrics, tax: Tax) -> list[TaxRow]:
    """The metrics that the policy was measured by, paired; none where there is no policy of RL."""
    rows = []
    for name, entry in tax.items():
        deltas = {reference: found.get("rl") for reference, found in entry.deltas.items()}
        known = [delta for delta in deltas.values() if delta is not None]
        if not known:
            continue
        main = deltas.get("base") or known[0]
        up, down = main.low > 0, main.high < 0
        gains, losses = (up, down) if entry.better == "higher" else (down, up)
        values = [shown(metrics.get(who, {}).get(name)) for who in ("base", "sft", "rl")]
        to_base, to_sft = (shown(deltas.get(reference)) for reference in ("base", "sft"))
        mood = "good" if gains else "bad" if losses else ""
        rows.append(
            TaxRow(
                name, entry.better, main.count, values, to_base, to_sft, mood, TABLE_14.get(name)
            )
        )
    return rows


def tax_lines(rows: list[TaxRow]) -> list[str]:
    """The same as lines of Markdown."""
    if not rows:
        return []
    head = ("metric", "better", "n", "base", "SFT", "RL", "RL - base", "RL - SFT")
    cells = [
        (row.name, row.better, str(row.n), *row.values, row.to_base, row.to_sft) for row in rows
    ]
    lines = [f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *cells)]
    return ["", "## Alignment tax", "", *lines]
