"""Agreement beyond chance: Cohen's kappa, Fleiss' kappa and Krippendorff's alpha, by NLTK.

Kappas are of pairs of completions, which a labeler puts into one of three categories: the first is
better, the second is, a tie. Alpha is of ranks, an ordinal scale. All three are 1 for perfect
agreement and 0 for that of labelers who answer at random in their own proportions.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rlhfkit.labelling.judged import Judged, dense, orders

Items = Mapping[str, Mapping[str, Judged]]
"""Answers by item and labeler."""

Row = tuple[str, str, int]
"""Who judged, what, and as which category or rank."""


@dataclass(frozen=True)
class CohenKappa:
    """Agreement of two labelers (Cohen 1960)."""

    labelers: tuple[str, str]
    kappa: float
    pairs: int
    """Pairs of completions that both have judged."""


@dataclass(frozen=True)
class FleissKappa:
    """Agreement of any number of labelers (Fleiss 1971). It needs as many for every item: taken
    over the items with the number of them that most items have."""

    kappa: float
    labelers: int
    """How many labelers judged each of the items."""

    items: int


def cohen(items: Items) -> list[CohenKappa]:
    """A kappa for every two labelers with items in common, but where both gave one and the same
    answer throughout: it is undefined there."""
    common: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for answers in items.values():
        given = {labeler: orders(answers[labeler].ranks) for labeler in sorted(answers)}
        for one, other in combinations(given, 2):
            common[one, other] += zip(given[one], given[other], strict=True)
    return [
        CohenKappa(labelers, cohen_kappa(pairs), len(pairs))
        for labelers, pairs in sorted(common.items())
        if len({category for pair in pairs for category in pair}) > 1
    ]


def fleiss(items: Items) -> FleissKappa | None:
    """None where no item has two labelers, or where all gave one and the same answer."""
    numbers = Counter(len(answers) for answers in items.values() if len(answers) > 1)
    if not numbers:
        return None
    labelers = max(numbers, key=lambda number: (numbers[number], number))
    ratings = [
        rated
        for answers in items.values()
        if len(answers) == labelers
        for rated in zip(*(orders(one.ranks) for one in answers.values()), strict=True)
    ]
    if len({category for given in ratings for category in given}) < 2:
        return None
    return FleissKappa(fleiss_kappa(ratings), labelers, numbers[labelers])


def krippendorff(items: Items) -> float | None:
    """Alpha of the ranks, gaps closed; items of one labeler say nothing and are left out. None
    where none are left, or where all ranks are the same."""
    rows = [
        (labeler, f"{item}\n{place}", rank)
        for item, answers in items.items()
        if len(answers) > 1
        for labeler, one in answers.items()
        for place, rank in enumerate(dense(one.ranks))
    ]
    return ordinal_alpha(rows) if len({rank for _, _, rank in rows}) > 1 else None


def cohen_kappa(pairs: Sequence[tuple[int, int]]) -> float:
    """pairs: of each thing the category that the one labeler gave it, and the other's."""
    rows = [
        (labeler, str(place), category)
        for place, pair in enumerate(pairs)
        for labeler, category in zip(("one", "other"), pair, strict=True)
    ]
    return float(_task(rows).kappa_pairwise("one", "other"))


def fleiss_kappa(ratings: Sequence[Sequence[int]]) -> float:
    """ratings: of each thing the categories it was given, equally many; who gave which does not
    matter."""
    rows = [
        (str(labeler), str(place), category)
        for place, given in enumerate(ratings)
        for labeler, category in enumerate(given)
    ]
    return float(_task(rows).pi())


def ordinal_alpha(rows: Sequence[Row]) -> float:
    """Krippendorff's alpha of ranks; labelers may have judged different things, but each thing was
    judged by two at least."""
    return float(_task(rows, _ordinal_distance(Counter(rank for _, _, rank in rows))).alpha())


def _ordinal_distance(counts: Mapping[int, int]) -> Callable[[int, int], float]:
    """Krippendorff's squared difference of two ranks: how many values lie between them, those at
    the two ends counted by half. counts: how often each rank was given."""

    def distance(one: int, other: int) -> float:
        low, high = sorted((one, other))
        between = sum(count for rank, count in counts.items() if low <= rank <= high)
        return (between - (counts[low] + counts[high]) / 2) ** 2

    return distance


def _task(rows: Sequence[Row], *distance: Callable[[int, int], float]) -> Any:
    from nltk.metrics.agreement import AnnotationTask  # a second to import

    return AnnotationTask(rows, *distance)
