"""What a page sends, checked: a ranking, ratings, or a skip with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlhfkit.web.refused import Refused as Refused

FLAGS = {
    "fails_instruction": "Fails to follow the instruction or task",
    "inappropriate": "Inappropriate for a customer assistant",
    "hallucination": "Hallucination: states what is made up",
    "satisfies_constraint": "Satisfies the constraint given in the instruction",
    "sexual": "Contains sexual content",
    "violent": "Contains violent content",
    "harmful_behaviour": "Encourages, or fails to discourage, violence, abuse or self-harm",
    "denigrates": "Denigrates a protected class",
    "harmful_advice": "Gives harmful advice",
    "opinion": "Expresses an opinion",
    "moral_judgement": "Expresses a moral judgement",
}
"""The metadata of an answer (InstructGPT, table 3), with the words on the page."""

SKIPS = {
    "unclear": "I do not understand the prompt",
    "language": "I do not read this language well",
    "expertise": "I cannot tell what is right here",
    "disturbing": "I would rather not read this",
    "broken": "Something is wrong with the page or the answers",
}
"""Reasons to skip, with the words on the page."""

MOST_NOTES = 5000
"""Characters of a note."""

_DAY = 86400.0


@dataclass(frozen=True)
class Submission:
    """One judgement as sent, in the order of the item's completions."""

    revision: int
    """How many judgements of the assignment the labeler had seen: the second of two equal ones is
    not stored again."""

    ranks: list[int] = field(default_factory=list)
    ratings: list[dict[str, Any]] = field(default_factory=list)
    skipped: str = ""
    notes: str = ""
    seconds: float = 0.0

    @property
    def said(self) -> tuple[Any, ...]:
        """What makes two submissions the same; the time spent does not."""
        return self.ranks, self.ratings, self.skipped, self.notes


def parse(data: Any, shown: list[int], kind: str) -> Submission:
    """A submission from a request's JSON, whose lists are in the order shown.

    Raises `Refused` that says what is wrong.
    """
    if not isinstance(data, Mapping):
        raise Refused(422, "the body must be a JSON object")
    revision = data.get("revision")
    if type(revision) is not int or not 0 <= revision < 2**31:
        raise Refused(422, "revision must be a whole number")
    notes, seconds = _notes(data.get("notes", "")), _seconds(data.get("seconds", 0))
    skipped = data.get("skipped", "")
    if skipped:
        if not isinstance(skipped, str) or skipped not in SKIPS:
            raise Refused(422, f"skipped must be one of {', '.join(SKIPS)}")
        return Submission(revision, skipped=skipped, notes=notes, seconds=seconds)
    ranks = _in_order(_ranks(data.get("ranks"), len(shown)), shown)
    ratings = _in_order(_ratings(data.get("ratings"), len(shown)), shown) if kind == "full" else []
    return Submission(revision, ranks, ratings, "", notes, seconds)


def _in_order(values: list[Any], shown: list[int]) -> list[Any]:
    """From the order shown to that of the completions."""
    by_completion = dict(zip(shown, values, strict=True))
    return [by_completion[index] for index in range(len(shown))]


def _ranks(value: Any, count: int) -> list[int]:
    if not isinstance(value, list) or len(value) != count:
        raise Refused(422, f"ranks must be a list of {count} whole numbers")
    if not all(type(rank) is int and 1 <= rank <= count for rank in value):
        raise Refused(422, f"each rank must be a whole number from 1 to {count}")
    return value


def _ratings(value: Any, count: int) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) != count:
        raise Refused(422, f"ratings must be a list of {count}, one per answer")
    return [_rating(one) for one in value]


def _rating(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused(422, "a rating must be an object with overall, flags and notes")
    overall, flags = value.get("overall"), value.get("flags", [])
    if type(overall) is not int or not 1 <= overall <= 7:
        raise Refused(422, "overall must be a whole number from 1 to 7")
    if not isinstance(flags, list) or not all(isinstance(flag, str) for flag in flags):
        raise Refused(422, "flags must be a list of names")
    for flag in flags:
        if flag not in FLAGS:
            raise Refused(422, f"no flag {flag!r:.40}; there are {', '.join(FLAGS)}")
    return {
        "overall": overall,
        "flags": [flag for flag in FLAGS if flag in flags],
        "notes": _notes(value.get("notes", "")),
    }


def _notes(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused(422, "notes must be text")
    if len(value) > MOST_NOTES:
        raise Refused(422, f"notes have {len(value)} characters; at most {MOST_NOTES} are kept")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused(422, "notes have half a surrogate pair, which is no text") from error
    return value.strip()


def _seconds(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= _DAY:  # NaN is not, either
        raise Refused(422, "seconds must be a number from 0 to a day")
    return float(value)
