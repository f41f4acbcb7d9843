"""What the templates of the page show: texts are given to them as they are and escaped there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from string import ascii_uppercase
from typing import Any

from jinja2 import Environment, PackageLoader

from rlhfkit.labelling.records import Assignment, StoredJudgement
from rlhfkit.labelling.submission import FLAGS, MOST_NOTES, SKIPS

FLAG_KEYS = dict(zip(FLAGS, "acdefghilmo", strict=True))
"""The key that sets each flag; j, k, n, s and u have other uses."""

LAST_FEW = 20
"""Judgements that the pace is taken over."""

_environment = Environment(
    loader=PackageLoader("rlhfkit.labelling", "pages"), autoescape=True, trim_blocks=True
)


@dataclass(frozen=True)
class Answer:
    """A completion on the page."""

    place: int
    letter: str
    """What it is called: its place, and nothing about who wrote it."""

    text: str
    ended: bool
    rank: int | None
    rating: Mapping[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far a labeler is."""

    done: int
    left: int
    seconds: float
    """The median time of the last items; 0 before the first."""

    @property
    def total(self) -> int:
        """Items that were ranked or can still be asked."""
        return self.done + self.left

    @property
    def minutes_left(self) -> int:
        """At this pace, rounded up."""
        return -int(-self.left * self.seconds // 60)


def progress(history: Sequence[tuple[int, StoredJudgement]], left: int) -> Progress:
    """Of a labeler's history, the last judgement first; repeats are not told from others."""
    spent = [judged.seconds for _, judged in history[:LAST_FEW] if judged.seconds]
    done = sum(not judged.repeat for _, judged in history)
    return Progress(done, left, median(spent) if spent else 0.0)


def answers(assignment: Assignment) -> list[Answer]:
    """The completions in the order shown, with what was said of them last."""
    item, last = assignment.item, assignment.last
    ranks = last.ranks if last else []
    ratings = last.ratings if last else []
    return [
        Answer(
            place,
            ascii_uppercase[place],
            item.completions[index],
            item.finished[index],
            ranks[index] if ranks else None,
            ratings[index] if ratings else {},
        )
        for place, index in enumerate(assignment.shown)
    ]


def render(template: str, **values: Any) -> str:
    """A page."""
    constants = {
        "flags": FLAGS,
        "flag_keys": FLAG_KEYS,
        "skips": SKIPS,
        "most_notes": MOST_NOTES,
    }
    return _environment.get_template(template).render(**constants, **values)
