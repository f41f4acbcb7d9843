"""Rows that no stage could use, between good ones: each is dropped and counted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlhfkit.types import Split

USER = {"role": "user", "content": "what is red"}
ANSWER = {"role": "assistant", "content": "it is fine"}

GOOD: dict[str, dict[str, Any]] = {
    "demonstrations": {"prompt": "what is green", "completion": "it is fine"},
    "chats": {"messages": [USER, ANSWER]},
    "prompts": {"prompt": "what is green"},
    "pretraining": {"text": "red and green"},
    "rankings": {"prompt": "what is green", "completions": ["I", "you", "it"], "ranks": [1, 2, 2]},
    "pairs": {"prompt": "what is green", "chosen": "it is", "rejected": "goes on"},
}
"""A usable row of each form; a bad one stands between two of them."""

SPLIT: dict[str, Split] = {"chats": "demonstrations", "pairs": "rankings"}
"""Of the forms that are not called by their split."""


@dataclass(frozen=True)
class Rows:
    """A bad row of a form, and what its drop is called."""

    id: str
    form: str
    bad: dict[str, Any]
    says: str

    @property
    def split(self) -> Split:
        return SPLIT.get(self.form, self.form)  # type: ignore[arg-type]


NO_TEXTS: dict[str, Any] = {
    "missing": None,
    "a number": 7,
    "a flag": True,
    "no number": math.nan,
    "an object": {"content": "what"},
}
BLANK = {"empty": "", "blank": " \n\t ", "a blank of Unicode": "\u2003\u00a0"}
NO_MESSAGES: dict[str, Any] = {
    "no message": [],
    "texts for messages": ["what", "is"],
    "nothing for a message": [None],
    "lists for messages": [["user", "what"]],
    "a message without content": [{"role": "user"}],
    "a message without role": [{"content": "what"}],
    "a message of nothing": [{"role": "user", "content": None}],
    "a message of parts": [{"role": "user", "content": [{"type": "text", "text": "what"}]}],
    "a message of a number": [{"role": "user", "content": 7}],
    "a role that is a number": [{"role": 1, "content": "what"}],
    "one message of two broken": [USER, {"role": "assistant", "value": "fine"}, USER],
    "another library's keys": [{"from": "human", "value": "what"}],
}
NO_RANKS: dict[str, Any] = {
    "missing": (None, "'ranks' are no list"),
    "a text": ("[1, 2, 3]", "'ranks' are no list"),
    "a number": (1, "'ranks' are no list"),
    "an object": ({"1": 2}, "'ranks' are no list"),
    "empty": ([], "not one of 'ranks' per completion"),
    "too few": ([1, 2], "not one of 'ranks' per completion"),
    "too many": ([1, 2, 3, 4], "not one of 'ranks' per completion"),
    "words": (["first", "second", "third"], "a rank is no whole number"),
    "empty texts": (["", "", ""], "a rank is no whole number"),
    "nothing among them": ([1, None, 2], "a rank is no whole number"),
    "not a number": ([1, math.nan, 2], "a rank is no whole number"),
    "infinite": ([1, math.inf, 2], "a rank is no whole number"),
    "minus infinite": ([1, -math.inf, 2], "a rank is no whole number"),
    "halves": ([1.0, 1.5, 2.0], "a rank is no whole number"),
    "scores": ([0.3, 0.7, 0.1], "a rank is no whole number"),
    "flags": ([True, False, False], "a rank is no whole number"),
    "beyond all numbers": ([1, 2, 1e300], "a rank is no whole number"),
    "beyond int64": ([1, 2, 2**63 - 1], "a rank is no whole number"),
    "lists": ([[1], [2], [3]], "a rank is no whole number"),
    "a tie of all": ([2, 2, 2], "all completions tied"),
    "a tie of all as texts": (["1", "1", "1"], "all completions tied"),
}
NO_COMPLETIONS: dict[str, Any] = {
    "a text": ("abc", "'completions' are no list"),
    "a number": (3, "'completions' are no list"),
    "an object": ({"a": "b"}, "'completions' are no list"),
    "none": ([], "not one of 'ranks' per completion"),
    "one blank": (["I", " ", "it"], "empty completion"),
    "one missing": (["I", None, "it"], "empty completion"),
    "one a number": (["I", 7, "it"], "empty completion"),
    "one a list of texts": (["I", ["you"], "it"], "empty completion"),
    "one without messages": (["I", [], "it"], "empty completion"),
    "one without content": (["I", [{"role": "assistant"}], "it"], "empty completion"),
    "two equal": (["I", "I", "it"], "equal completions of different ranks"),
    "two equal but for blanks": (["I", "I ", "it"], "equal completions of different ranks"),
    "all equal": (["I", "I", "I"], "equal completions of different ranks"),
}
NO_FLAGS: dict[str, Any] = {
    "too few": ([True], "not one of 'finished' per completion"),
    "too many": ([True] * 4, "not one of 'finished' per completion"),
    "one for all": (True, "'finished' are no list"),
    "texts": (["yes", "no", "yes"], "'finished' are not true or false"),
    "numbers": ([1, 0, 1], "'finished' are not true or false"),
    "nothing among them": ([True, None, True], "'finished' are not true or false"),
}


def prompts() -> Iterator[Rows]:
    """Wherever a prompt stands."""
    for form in ("prompts", "demonstrations", "rankings", "pairs"):
        for name, value in NO_TEXTS.items():
            yield _changed(form, "prompt", name, value, "prompt is neither text nor messages")
        for name, value in BLANK.items():
            yield _changed(form, "prompt", name, value, "empty prompt")
    for name, value in NO_MESSAGES.items():
        says = "prompt is neither" if value == [] else "a message lacks role or content"
        yield _changed("prompts", "prompt", name, value, says)
        if value:
            yield _changed("chats", "messages", name, [*value, ANSWER], says)
    blank = [USER, ANSWER, {"role": "user", "content": " "}]
    yield _changed("prompts", "prompt", "a blank last message", blank, "empty prompt")
    yield _changed("chats", "messages", "a blank last question", [*blank, ANSWER], "empty prompt")


def texts() -> Iterator[Rows]:
    """Completions and pretraining texts."""
    for name, value in {**NO_TEXTS, **BLANK}.items():
        yield _changed("demonstrations", "completion", name, value, "empty completion")
        yield _changed("pretraining", "text", name, value, "empty text")
        for column in ("chosen", "rejected"):
            yield _changed("pairs", column, name, value, "empty completion")
    for name in ("no message", "texts for messages", "nothing for a message"):
        yield _changed("demonstrations", "completion", name, NO_MESSAGES[name], "empty completion")
    same = {"prompt": "what", "chosen": "it", "rejected": "it "}
    yield Rows("pairs: both equal", "pairs", same, "equal completions of different ranks")


def chats() -> Iterator[Rows]:
    """Messages that are no demonstration."""
    ends = "messages do not end with the assistant's"
    for name, turns, says in (
        ("the user's last", [USER], ends),
        ("an answer alone", [ANSWER], ends),
        ("another's last", [USER, {"role": "gpt", "content": "fine"}], ends),
        ("no answer in it", [USER, {"role": "assistant", "content": ""}], "empty completion"),
    ):
        yield _changed("chats", "messages", name, turns, says)


def rankings() -> Iterator[Rows]:
    """Ranks, completions and flags."""
    for column, broken in (
        ("ranks", NO_RANKS), ("completions", NO_COMPLETIONS), ("finished", NO_FLAGS),
    ):  # fmt: skip
        for name, (value, says) in broken.items():
            yield _changed("rankings", column, name, value, says)
    for completions, ranks in ((["it"], [1]), (["it"], ["1"])):
        one = {"prompt": "what", "completions": completions, "ranks": ranks}
        yield Rows(f"rankings: K is 1, {ranks}", "rankings", one, "fewer than two completions")


def _changed(form: str, column: str, name: str, value: Any, says: str) -> Rows:
    return Rows(f"{form}: {column}: {name}", form, {**GOOD[form], column: value}, says)


CASES = [*prompts(), *texts(), *chats(), *rankings()]
