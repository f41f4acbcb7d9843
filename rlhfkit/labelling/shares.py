"""Shares of pairs with intervals, bootstrapped over items: the pairs of an item hang together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from rlhfkit.intervals import ratio_interval
from rlhfkit.labelling.chance_corrected import Items
from rlhfkit.labelling.judged import Judged, Tally, compared, orders
from rlhfkit.types import Metric

_LEVEL, _RESAMPLES = 0.95, 1000


def same_order(tallies: Iterable[tuple[str, Tally]]) -> Metric | None:
    """Of the pairs that neither ranking ties, those in the same order. tallies: with their item."""
    return _share((item, tally.same, tally.decided) for item, tally in tallies)


def same_answer(tallies: Iterable[tuple[str, Tally]]) -> Metric | None:
    """Of all pairs, those with the same of three answers: first, second, tie."""
    return _share((item, tally.same_with_ties, tally.pairs) for item, tally in tallies)


def with_itself(judged: Iterable[Judged], items: Items) -> Metric | None:
    """Repeats compared with the first answers in `items`: pairs with the same of three answers."""
    again = [one for one in judged if one.repeat and one.labeler in items.get(one.item, {})]
    return same_answer(
        (one.item, compared(one.ranks, items[one.item][one.labeler].ranks)) for one in again
    )


def with_gold(judged: Iterable[Judged], gold: Mapping[str, Sequence[int]]) -> Metric | None:
    """Of the pairs that a known answer decides, those in its order; a tie there is a miss."""
    return _share(
        (one.item, compared(one.ranks, gold[one.item]).same, sum(map(abs, orders(gold[one.item]))))
        for one in judged
        if one.item in gold
    )


def first_preferred(judged: Iterable[Judged]) -> Metric | None:
    """Of the pairs that are not tied, those whose completion shown earlier is better: one half
    without position bias."""
    found = []
    for one in judged:
        if one.shown is not None:
            pairs = list(combinations((one.ranks[place] for place in one.shown), 2))
            wins = sum(earlier < later for earlier, later in pairs)
            found.append((one.item, wins, sum(earlier != later for earlier, later in pairs)))
    return _share(found)


def _share(counted: Iterable[tuple[str, int, int]]) -> Metric | None:
    """The hits over what they are counted of; None where there is nothing to count."""
    hits: defaultdict[str, int] = defaultdict(int)
    totals: defaultdict[str, int] = defaultdict(int)
    for item, hit, total in counted:
        if total:
            hits[item] += hit
            totals[item] += total
    if not totals:
        return None
    return ratio_interval([*hits.values()], [*totals.values()], _LEVEL, _RESAMPLES, seed=0)
