"""Rubrics: what a good answer to a prompt must contain, must not, and what form and length it has.

A prompt carries its rubric in the column `rubric`, as in

    {"contains": [["Rome"]], "form": ["quoted"], "words": [1, 20]}

Everything here is checked by program, as in IFEval (Zhou et al. 2023, arXiv 2311.07911).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from rlhfkit.errors import UserError, nearest

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?]+[\"”’')]*\s+(?=[\"“]?[^\W_])")
_COMPLETE = re.compile(r"[.!?]+[\"”’')]*$")
_QUOTED = re.compile(r"[\"“][^\"“”]+[\"”][.!?]?$")

PARTS = ("contains", "avoids", "form", "length")
"""What `Rubric.degrees` gives."""


@dataclass(frozen=True)
class Rubric:
    """What a good answer to one prompt is.

    Example: Rubric(contains=[["cat"], ["purr", "mice"]], form=["sentence"], words=[4, 20]) wants
    one sentence of 4 to 20 words with the word cat and one of two others.
    """

    contains: Sequence[Sequence[str]] = ()
    """Groups of words or phrases; one of each group must occur."""

    at_least: int | None = None
    """How many of the groups will do; null wants all."""

    avoids: Sequence[str] = ()
    """Words or phrases that must not occur."""

    form: Sequence[str] = ()
    """Names of `FORMS`, all of which must hold."""

    items: int | None = None
    """How many things the form `list` has."""

    words: Sequence[int] = field(default=(1, 10_000))
    """Fewest and most words."""

    start: str | None = None
    """The first word."""

    end: str | None = None
    """The last word."""

    @classmethod
    def of(cls, row: Any) -> "Rubric | None":
        """From a data row's column; None where there is none. Raises `UserError` for something
        else than a rubric."""
        if row is None:
            return None
        if not isinstance(row, Mapping):
            raise UserError(f"rubric: {row!r:.60} is no rubric; give contains, form, words")
        known = [part.name for part in fields(cls)]
        for key in row:
            if key not in known:
                raise UserError(f"rubric: has no '{key}'; {nearest(key, known)}")
        rubric = cls(**{key: value for key, value in row.items() if value is not None})
        rubric._check()
        return rubric

    def _check(self) -> None:
        for name in self.form:
            if name not in FORMS:
                raise UserError(f"rubric: no form '{name}'; {nearest(name, FORMS)}")
        if len(self.words) != 2 or not 1 <= self.words[0] <= self.words[1]:
            raise UserError(f"rubric: words={self.words} must be fewest (1 or more) and most")

    def degrees(self, text: str) -> dict[str, float]:
        """How far each of `PARTS` is kept, from 0 to 1; 1 is satisfied."""
        count = len(words_of(text))
        fewest, most = self.words
        return {
            "contains": self._contained(text),
            "avoids": float(not any(occurs(word, text) for word in self.avoids)),
            "form": self._form(text),
            "length": min(1.0, count / fewest, most / count) if count else 0.0,
        }

    def kept(self, text: str) -> dict[str, bool]:
        """Whether each of `PARTS` is satisfied."""
        return {name: degree == 1.0 for name, degree in self.degrees(text).items()}

    def _contained(self, text: str) -> float:
        if not self.contains:
            return 1.0
        found = sum(any(occurs(word, text) for word in group) for group in self.contains)
        return min(1.0, found / (self.at_least or len(self.contains)))

    def _form(self, text: str) -> float:
        """The share of the wanted forms that hold."""
        text = text.strip()
        words = [word.lower() for word in words_of(text)] or [""]
        held = [FORMS[name](text) for name in self.form]
        held += [listed(text) == self.items] if self.items else []
        held += [words[0] == self.start.lower()] if self.start else []
        held += [words[-1] == self.end.lower()] if self.end else []
        return sum(held) / len(held) if held else 1.0


def words_of(text: str) -> list[str]:
    """Words in their order; "don't" is one."""
    return _WORD.findall(text)


def occurs(word: str, text: str) -> bool:
    """Whether a word or phrase stands in a text, in any case, perhaps in the plural."""
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?:s|es)?(?!\w)", text, re.IGNORECASE))


def sentence(text: str) -> bool:
    """One line that is one finished sentence of three words or more."""
    one = "\n" not in text and not _SENTENCE_END.search(text)
    return one and bool(_COMPLETE.search(text)) and len(words_of(text)) >= 3


def question(text: str) -> bool:
    """One sentence with a question mark."""
    return sentence(text) and text.rstrip("\"”'").endswith("?")


def capitals(text: str) -> bool:
    """Letters, and none of them small."""
    return text.upper() == text != text.lower()


def lower_case(text: str) -> bool:
    """Letters, and no capital one."""
    return text.lower() == text != text.upper()


def quoted(text: str) -> bool:
    """All of it within double quotes."""
    return bool(_QUOTED.fullmatch(text))


def unquoted(text: str) -> bool:
    """No double quotes anywhere."""
    return not set(text) & set('"“”')


def listed(text: str) -> int:
    """How many things of one to three words a line lists, with commas between them; 0 for none."""
    items = [re.sub(r"^and\s+", "", item.strip()) for item in text.rstrip(".").split(",")]
    whole = "\n" not in text and all(1 <= len(words_of(item)) <= 3 for item in items)
    return len(items) if whole else 0


FORMS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {form.__name__: form for form in (sentence, question, capitals, lower_case, quoted, unquoted)}
)
"""Forms of an answer by name."""
