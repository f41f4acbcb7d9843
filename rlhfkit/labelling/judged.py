"""Rankings as agreement is measured on them: who ranked what, in which order it was shown, and how
long it took."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Judged:
    """One ranking of one item.

    Example: Judged("ann", "item 7", [1, 2, 2], shown=[2, 0, 1], seconds=41.5).
    """

    labeler: str
    item: str
    """Equal for all who ranked the same completions of the same prompt."""

    ranks: Sequence[int]
    """A rank of each completion in the item's own order, 1 for the best; equal ranks are ties."""

    shown: Sequence[int] | None = None
    """Places of the completions in the order in which they were shown: [2, 0, 1] had the third one
    first. None where it is not known."""

    seconds: float | None = None
    """Time that was spent on it."""

    repeat: bool = False
    """Whether the labeler was asked the second time, to see whether the answer is the same."""


@dataclass(frozen=True)
class Tally:
    """How many pairs of completions two rankings of an item order alike."""

    pairs: int = 0
    decided: int = 0
    """Pairs that neither ranking ties."""

    same: int = 0
    """Decided pairs in the same order."""

    same_with_ties: int = 0
    """Pairs with the same order or tied in both."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.pairs + other.pairs,
            self.decided + other.decided,
            self.same + other.same,
            self.same_with_ties + other.same_with_ties,
        )


def orders(ranks: Sequence[int]) -> list[int]:
    """Of every two completions, in the item's order: 1 where the first is better, -1 where the
    second is, 0 for a tie."""
    return [(one < other) - (one > other) for one, other in combinations(ranks, 2)]


def compared(one: Sequence[int], other: Sequence[int]) -> Tally:
    """Two rankings of the same completions."""
    signs = list(zip(orders(one), orders(other), strict=True))
    decided = [(ours, theirs) for ours, theirs in signs if ours and theirs]
    return Tally(
        pairs=len(signs),
        decided=len(decided),
        same=sum(ours == theirs for ours, theirs in decided),
        same_with_ties=sum(ours == theirs for ours, theirs in signs),
    )


def dense(ranks: Sequence[int]) -> list[int]:
    """Ranks without a gap: [1, 4, 4] becomes [1, 2, 2]."""
    places = {rank: place for place, rank in enumerate(sorted(set(ranks)), start=1)}
    return [places[rank] for rank in ranks]


def by_item(judged: Iterable[Judged]) -> dict[str, dict[str, Judged]]:
    """The first answers, repeats apart: of each item by labeler, the last where one was corrected.

    Raises `ValueError` for rankings of an item that differ in length.
    """
    found: defaultdict[str, dict[str, Judged]] = defaultdict(dict)
    for one in judged:
        if not one.repeat:
            found[one.item][one.labeler] = one
    for item, answers in found.items():
        if len({len(one.ranks) for one in answers.values()}) > 1:
            raise ValueError(f"item {item!r}: rankings of different numbers of completions")
    return dict(found)
