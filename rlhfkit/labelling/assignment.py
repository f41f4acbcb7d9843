"""Which item a labeler is asked next: the least covered, and none twice but as a planned repeat."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlhfkit.labelling.invitations import GOLD


@dataclass(frozen=True)
class Plan:
    """How the work is shared out."""

    overlap: float = 1.0
    """Labelers per item; 1.2 asks a second labeler on a fifth of the items."""

    repeats: float = 0.07
    """Share of items that a labeler is asked again, for self-agreement; usual is 0.05 to 0.1."""

    abandoned_after: float = 1800.0
    """Seconds after which an item that was shown and not judged goes to somebody else."""


@dataclass(frozen=True)
class Assigned:
    """An item that a labeler was asked."""

    id: int
    item: str
    labeler: str
    repeat: bool
    at: float
    judged: bool
    skipped: bool


@dataclass(frozen=True)
class Choice:
    """What to ask: an item that is open already, or a new one."""

    item: str
    repeat: bool = False
    open: int | None = None
    """The assignment, where there is one."""


REPEAT_DISTANCE = 5
"""Judgements between an item and its repeat, so that it is not remembered."""


def choose(
    queue: Sequence[str], assigned: Iterable[Assigned], labeler: str, plan: Plan, now: float
) -> Choice | None:
    """The next item of a labeler; None when nothing is left.

    queue: items in the order they are asked. assigned: everything that anybody was asked.
    """
    everything = sorted(assigned, key=lambda one: one.id)
    own = [one for one in everything if one.labeler == labeler]
    covered = _covered(everything, labeler, plan, now)
    left = _left(queue, everything, covered, plan)
    for one in own:
        if not one.judged and (one.repeat or one.item in left):
            return Choice(one.item, one.repeat, one.id)
    if (again := _repeat(queue, own, plan)) is not None:
        return Choice(again, repeat=True)
    seen = {one.item for one in own}
    new = [item for item in left if item not in seen]
    best = min(new, key=lambda item: len(covered.get(item, ())), default=None)
    return None if best is None else Choice(best)


def open_for(
    queue: Sequence[str], assigned: Iterable[Assigned], labeler: str, plan: Plan, now: float
) -> int:
    """How many items are left for a labeler, repeats apart."""
    everything = list(assigned)
    covered = _covered(everything, labeler, plan, now)
    done = {one.item for one in everything if one.labeler == labeler and one.judged}
    return sum(item not in done for item in _left(queue, everything, covered, plan))


def wanted(item: str, plan: Plan) -> int:
    """How many labelers an item is to have, always the same for an item (ids are hexadecimal)."""
    whole = int(plan.overlap)
    share = int(item[:8], 16) / 2**32
    return whole + (share < plan.overlap - whole)


def _covered(
    assigned: Iterable[Assigned], labeler: str, plan: Plan, now: float
) -> dict[str, set[str]]:
    """By item the other labelers who have ranked it or are at it; who skipped it does not count."""
    found: dict[str, set[str]] = {}
    for one in assigned:
        live = not one.judged and now - one.at < plan.abandoned_after
        if one.labeler not in (labeler, GOLD) and (live or (one.judged and not one.skipped)):
            found.setdefault(one.item, set()).add(one.labeler)
    return found


def _left(
    queue: Sequence[str],
    assigned: Iterable[Assigned],
    covered: Mapping[str, set[str]],
    plan: Plan,
) -> list[str]:
    """Items that want a labeler more: those with a known answer want all of them."""
    known = {one.item for one in assigned if one.labeler == GOLD and one.judged and not one.skipped}
    return [
        item for item in queue if item in known or len(covered.get(item, ())) < wanted(item, plan)
    ]


def _repeat(queue: Sequence[str], own: Sequence[Assigned], plan: Plan) -> str | None:
    """The item to ask again now, the one that was asked longest ago."""
    first = [one.item for one in own if one.judged and not one.repeat and not one.skipped]
    repeated = {one.item for one in own if one.repeat}
    if int(plan.repeats * len(first)) <= len(repeated):
        return None
    old = (item for item in first[:-REPEAT_DISTANCE] if item not in repeated and item in set(queue))
    return next(old, None)
