"""How far labelers agree, with each other, with themselves and with known answers, and what else
tells careful work from careless.

Source: InstructGPT, section 3.4 (agreement among training labelers 72.6 ± 1.5 %, held-out ones
77.3 ± 1.3 %).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median
from typing import Any

from rlhfkit.labelling.chance_corrected import (
    CohenKappa,
    FleissKappa,
    Items,
    cohen,
    fleiss,
    krippendorff,
)
from rlhfkit.labelling.judged import Judged, Tally, by_item, compared
from rlhfkit.labelling.shares import (
    first_preferred,
    same_answer,
    same_order,
    with_gold,
    with_itself,
)
from rlhfkit.labelling.times import TimeOutlier, time_outliers
from rlhfkit.types import Metric

Gold = Mapping[str, Sequence[int]]
"""Known ranks of some items."""


@dataclass(frozen=True)
class LabelerQuality:
    """One labeler."""

    labeler: str
    judgements: int
    """Repeats not counted."""

    against_rest: Metric | None
    """Share of the pairs ordered as each other labeler of the item has them, ties apart."""

    ties: float
    """Share of the pairs that are tied."""

    self_agreement: Metric | None
    """Share of the pairs in the same order, or tied, when asked again."""

    first_preferred: Metric | None
    """Share of the pairs whose completion shown earlier is better, ties apart: one half without
    position bias."""

    gold: Metric | None
    """Share of the pairs that a known answer decides in the same order."""

    median_seconds: float | None
    time_outliers: int


@dataclass(frozen=True)
class Agreement:
    """All that is known of a set of judgements; None where there is nothing to tell it by."""

    judgements: int
    items: int
    agreement: Metric | None
    """Share of the pairs that two labelers order alike, of those that neither ties."""

    pairs: int
    """Pairs that `agreement` is taken over."""

    tied_pairs: int
    """Pairs that one of the two labelers ties, or both."""

    agreement_with_ties: Metric | None
    """Share of all pairs with the same of three answers: first, second, tie."""

    cohen: list[CohenKappa]
    mean_cohen: float | None
    """Over all two labelers, weighted by their pairs."""

    fleiss: FleissKappa | None
    krippendorff: float | None
    self_agreement: Metric | None
    first_preferred: Metric | None
    gold: Metric | None
    labelers: list[LabelerQuality]
    """Those who agree least with the rest first."""

    time_outliers: list[TimeOutlier]

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> "Agreement":
        """From what `dataclasses.asdict` and JSON made of it."""
        fleiss = found["fleiss"]
        own = {
            "cohen": [
                CohenKappa(**{**one, "labelers": (*one["labelers"],)}) for one in found["cohen"]
            ],
            "fleiss": fleiss and FleissKappa(**fleiss),
            "labelers": [LabelerQuality(**_metrics(one)) for one in found["labelers"]],
            "time_outliers": [TimeOutlier(**one) for one in found["time_outliers"]],
        }
        return cls(**{**_metrics(found), **own})


def measure(judged: Sequence[Judged], gold: Gold | None = None) -> Agreement:
    """Raises `ValueError` for rankings of an item, gold ones included, that differ in length."""
    known = gold or {}
    items = by_item(judged)
    first = [one for answers in items.values() for one in answers.values()]
    outliers, kappas, between = time_outliers(first), cohen(items), _between(items)
    total = sum((tally for _, tally in between), Tally())
    labelers = _labelers(judged, items, known, outliers)
    return Agreement(
        judgements=len(first),
        items=len(items),
        agreement=same_order(between),
        pairs=total.decided,
        tied_pairs=total.pairs - total.decided,
        agreement_with_ties=same_answer(between),
        cohen=kappas,
        mean_cohen=_mean(kappas),
        fleiss=fleiss(items),
        krippendorff=krippendorff(items),
        self_agreement=with_itself(judged, items),
        first_preferred=first_preferred(first),
        gold=with_gold(first, known),
        labelers=sorted(labelers, key=_against_rest),
        time_outliers=outliers,
    )


def _between(items: Items) -> list[tuple[str, Tally]]:
    """Every two answers to an item compared, with the item."""
    return [
        (item, compared(one.ranks, other.ranks))
        for item, answers in items.items()
        for one, other in combinations(answers.values(), 2)
    ]


def _labelers(
    judged: Sequence[Judged], items: Items, gold: Gold, outliers: Sequence[TimeOutlier]
) -> list[LabelerQuality]:
    """By name."""
    own: defaultdict[str, list[Judged]] = defaultdict(list)
    again: defaultdict[str, list[Judged]] = defaultdict(list)
    for answers in items.values():
        for name, one in answers.items():
            own[name].append(one)
    for one in judged:
        again[one.labeler].append(one)
    odd = Counter(outlier.labeler for outlier in outliers)
    return [_labeler(name, own[name], again[name], items, gold, odd[name]) for name in sorted(own)]


def _labeler(
    name: str,
    own: Sequence[Judged],
    again: Sequence[Judged],
    items: Items,
    gold: Gold,
    time_outliers: int,
) -> LabelerQuality:
    others = [
        (one.item, compared(one.ranks, other.ranks))
        for one in own
        for other in items[one.item].values()
        if other.labeler != name
    ]
    total = sum((compared(one.ranks, one.ranks) for one in own), Tally())
    seconds = [one.seconds for one in own if one.seconds is not None]
    return LabelerQuality(
        labeler=name,
        judgements=len(own),
        against_rest=same_order(others),
        ties=1 - total.decided / total.pairs if total.pairs else 0.0,
        self_agreement=with_itself(again, items),
        first_preferred=first_preferred(own),
        gold=with_gold(own, gold),
        median_seconds=median(seconds) if seconds else None,
        time_outliers=time_outliers,
    )


def _against_rest(one: LabelerQuality) -> float:
    return one.against_rest.value if one.against_rest else math.inf


def _mean(kappas: Sequence[CohenKappa]) -> float | None:
    weights = [found.pairs for found in kappas]
    return fmean([found.kappa for found in kappas], weights) if kappas else None


def _metrics(found: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings with a value and an interval as `Metric`."""
    return {
        name: Metric(**value) if isinstance(value, Mapping) and "level" in value else value
        for name, value in found.items()
    }
