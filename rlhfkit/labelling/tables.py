"""Agreement in words and numbers, for the console, reports and the quality screen."""

from rlhfkit.console import count_of
from rlhfkit.labelling.agreement import Agreement, LabelerQuality
from rlhfkit.types import Metric

HEAD = (
    "labeler",
    "judged",
    "agrees with the rest",
    "ties",
    "with itself",
    "prefers the earlier",
    "known answers",
    "seconds",
    "odd times",
)
"""Columns of `labelers`."""


def summary(found: Agreement) -> list[tuple[str, str]]:
    """What is known of all labelers together: its name and its value."""
    fleiss = found.fleiss
    known = {
        f"two labelers agree, {count_of(found.pairs, 'pair')} without ties": percent(
            found.agreement
        ),
        f"ties counted as an answer, {count_of(found.pairs + found.tied_pairs, 'pair')}": percent(
            found.agreement_with_ties
        ),
        "Cohen's kappa, mean over labelers": decimal(found.mean_cohen),
        f"Fleiss' kappa, items of {fleiss.labelers if fleiss else 0} labelers": decimal(
            fleiss.kappa if fleiss else None
        ),
        "Krippendorff's alpha, ordinal": decimal(found.krippendorff),
        "the same answer when asked again": percent(found.self_agreement),
        "prefer the completion shown earlier": percent(found.first_preferred),
        "as the known answers": percent(found.gold),
    }
    return [(name, value) for name, value in known.items() if value]


def labelers(found: Agreement) -> list[list[str]]:
    """A row of `HEAD` for each labeler; empty cells where nothing is known."""
    return [_row(one) for one in found.labelers]


def percent(metric: Metric | None) -> str:
    """As the paper prints it where the interval is about even, 72.6 ± 1.5 %, else its ends."""
    if metric is None:
        return ""
    below, above = metric.value - metric.low, metric.high - metric.value
    if round(100 * below, 1) == round(100 * above, 1):
        return f"{100 * metric.value:.1f} ± {100 * above:.1f} %"
    return f"{100 * metric.value:.1f} % [{100 * metric.low:.1f}, {100 * metric.high:.1f}]"


def decimal(value: float | None) -> str:
    """Three decimals; empty for None."""
    return "" if value is None else f"{value:.3f}"


def _row(one: LabelerQuality) -> list[str]:
    return [
        one.labeler,
        str(one.judgements),
        percent(one.against_rest),
        f"{one.ties:.0%}",
        percent(one.self_agreement),
        percent(one.first_preferred),
        percent(one.gold),
        "" if one.median_seconds is None else f"{one.median_seconds:.0f}",
        str(one.time_outliers) if one.median_seconds is not None else "",
    ]
