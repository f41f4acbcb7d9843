"""How a judge is asked to rate an answer alone: a YAML file with `system`, `user` and `lines`.

`{conversation}` and `{answer}` in `user` stand for the prompt and the completion. `lines` says how
each line of the judge's reply begins: that of `overall`, behind which a number from 1 to 7 stands,
and those of the flags it is asked about, with yes or no. InstructGPT, figure 12 and table 3.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlhfkit.errors import UserError, nearest
from rlhfkit.labelling.submission import FLAGS
from rlhfkit.types import Messages
from rlhfkit_plugins.labelers.prompt_file import (
    PromptFile,
    are_words,
    conversation,
    load,
    require_apart,
)

OVERALL = "overall"
_NUMBERS = {str(number): float(number) for number in range(1, 8)}
_YES_OR_NO = {"yes": 1.0, "no": 0.0}
_SAID = _NUMBERS | _YES_OR_NO | {"true": 1.0, "false": 0.0}
"""What a line may say, and what it means. JSON has other words for yes and no."""

_GAP = r"""["'`*_\s]*"""
_END = r"""(?=[ \t]*(?:$|[.,;:|*_"'`(){}\]]|[-\u2013\u2014]\s))(?![.,]\d)"""
"""Behind a value: the 1 of `1 to 7` is none, nor are the digits of `5.5` and `10`."""

_NUMBER = "([1-7])(?: ?(?:/|out of) ?7)?"
_WORD = "(yes|no|true|false)"


@dataclass(frozen=True)
class RatingPrompt(PromptFile):
    """One way to ask how good an answer is."""

    lines: Mapping[str, str]
    """How the line begins of `overall` and of each flag."""

    def messages(self, prompt: Messages, answer: str) -> Messages:
        """The question as a conversation."""
        return self.filled({"conversation": conversation(prompt), "answer": answer})

    def rating(self, reply: str) -> dict[str, float] | None:
        """The number behind `overall`, and 1 or 0 for each flag; None for a reply without all of
        them. Of several lines that begin alike the last counts."""
        found = {name: self._value(name, reply) for name in self.lines}
        values = {name: value for name, value in found.items() if value is not None}
        return values if len(values) == len(found) else None

    def _value(self, name: str, reply: str) -> float | None:
        start = rf"(?<!\w){re.escape(self.lines[name])}{_GAP}(?:\([^()\n]*\){_GAP})?"
        value = _NUMBER if name == OVERALL else _WORD
        said = re.findall(rf"{start}[:=|]{_GAP}{value}{_END}", reply, re.IGNORECASE | re.MULTILINE)
        return _SAID[said[-1].lower()] if said else None

    def replies(self, name: str) -> list[str]:
        """Every line that may be said of a flag or of `overall`."""
        allowed = _NUMBERS if name == OVERALL else _YES_OR_NO
        return [f"{self.lines[name]}: {word}" for word in allowed]

    @property
    def reminder(self) -> str:
        """What is said to a judge whose reply lacks a line."""
        form = (
            f"{start}: {'a number from 1 to 7' if name == OVERALL else 'yes or no'}"
            for name, start in self.lines.items()
        )
        return "\n".join(("Reply with these lines and with nothing else.", *form))


def load_rating_prompts(option: str, names: Sequence[str]) -> list[RatingPrompt]:
    """The prompts of a pool. Raises `UserError` for a file that holds none, and for two of one
    name."""
    return load(option, names, "lines", ("conversation", "answer"), _parse)


def _parse(where: str, asked: PromptFile, content: Mapping[str, Any]) -> RatingPrompt:
    found = content.get("lines")
    lines = found if isinstance(found, dict) else {}
    if OVERALL not in lines or not are_words(lines.values()):
        raise UserError(f"{where}: 'lines' must have the text 'overall', and may have flags")
    known = [OVERALL, *FLAGS]
    for name in lines:
        if name not in known:
            raise UserError(f"{where}: no flag '{name}'; {nearest(str(name), known)}")
    require_apart(where, "line", lines.values())
    return RatingPrompt(**vars(asked), lines={name: lines[name] for name in known if name in lines})
