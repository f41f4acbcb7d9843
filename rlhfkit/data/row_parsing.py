"""Rows of data as demonstrations, prompts, texts and rankings; what cannot be one is `Unusable`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Demonstration, Messages, Ranking, Split

Row = Mapping[str, Any]


class Unusable(ValueError):
    """A row that is dropped; the text says why and is counted."""


_HIGHEST_RANK = 2**31

_NEEDED: dict[Split, tuple[tuple[str, ...], ...]] = {
    "demonstrations": (("prompt", "completion"), ("messages",)),
    "prompts": (("prompt",), ("messages",)),
    "eval_prompts": (("prompt",), ("messages",)),
    "pretraining": (("text",),),
    "rankings": (("prompt", "completions", "ranks"), ("prompt", "chosen", "rejected")),
}


def check_columns(name: str, split: Split, columns: list[str]) -> None:
    """Raise `UserError` for a file or set without the columns of a split."""
    choices = _NEEDED[split]
    if any(set(choice) <= set(columns) for choice in choices):
        return
    missing = next(column for column in choices[0] if column not in columns)
    forms = " or ".join("+".join(choice) for choice in choices)
    raise UserError(
        f"data {name}: {split} has no column '{missing}' (needs {forms}); "
        f"{nearest(missing, columns)}"
    )


def to_messages(prompt: Any) -> Messages:
    """A prompt as messages, from a text or from messages."""
    if isinstance(prompt, str):
        return _with_text([{"role": "user", "content": prompt}])
    return _with_text(_turns(prompt))


def _turns(value: Any) -> Messages:
    """A column's messages, the assistant's last one among them."""
    if not isinstance(value, list) or not value:
        raise Unusable("prompt is neither text nor messages")
    if not all(map(_is_message, value)):
        raise Unusable("a message lacks role or content")
    return [{"role": turn["role"], "content": turn["content"]} for turn in value]


def _is_message(turn: Any) -> bool:
    """Whether role and content are texts; None and lists of parts are none."""
    return (
        isinstance(turn, Mapping)
        and isinstance(turn.get("role"), str)
        and isinstance(turn.get("content"), str)
    )


def _with_text(turns: Messages) -> Messages:
    """Messages that ask for something; an empty one may stand before, as of the system."""
    if not turns or not turns[-1]["content"].strip():
        raise Unusable("empty prompt")
    return turns


def _demonstration(row: Row) -> Demonstration:
    if row.get("messages"):
        turns = _turns(row["messages"])
        if turns[-1]["role"] != "assistant" or len(turns) < 2:
            raise Unusable("messages do not end with the assistant's")
        return Demonstration(_with_text(turns[:-1]), _completion(turns[-1]["content"]))
    return Demonstration(to_messages(row.get("prompt")), _completion(row.get("completion")))


def _prompt(row: Row) -> Messages:
    if row.get("prompt") is not None:
        return to_messages(row["prompt"])
    turns = _turns(row.get("messages"))
    return _with_text(turns[:-1] if turns[-1]["role"] == "assistant" else turns)


def _text(row: Row) -> str:
    if not isinstance(row["text"], str) or not row["text"].strip():
        raise Unusable("empty text")
    return row["text"]


def _ranking(row: Row) -> Ranking:
    prompt = to_messages(row.get("prompt"))
    if row.get("completions") is None:
        pair = [_completion(row.get("chosen")), _completion(row.get("rejected"))]
        return _checked(Ranking(prompt, pair, [1, 2], [True, True], "data"))
    completions = [_completion(text) for text in _listed(row, "completions")]
    ranks = [_rank(value) for value in _listed(row, "ranks", len(completions))]
    labeler = str(row.get("annotator") or row.get("labeler") or "data")
    return _checked(Ranking(prompt, completions, ranks, _finished(row, len(completions)), labeler))


def _finished(row: Row, count: int) -> list[bool]:
    """A flag per completion; all true where the row has none."""
    if not row.get("finished"):
        return [True] * count
    flags = _listed(row, "finished", count)
    if not all(isinstance(flag, bool) for flag in flags):
        raise Unusable("'finished' are not true or false")
    return flags


def _listed(row: Row, column: str, count: int | None = None) -> list[Any]:
    """A list, of one value per completion where that is told."""
    value = row.get(column)
    if not isinstance(value, list):
        raise Unusable(f"'{column}' are no list")
    if count is not None and len(value) != count:
        raise Unusable(f"not one of '{column}' per completion")
    return value


def _rank(value: Any) -> int:
    """A whole number, as 2, 2.0 or "2"; true and false would be ranks in the wrong order."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not number.is_integer() or abs(number) > _HIGHEST_RANK:
        raise Unusable("a rank is no whole number")
    return int(number)


def _checked(ranking: Ranking) -> Ranking:
    if len(ranking.completions) < 2:
        raise Unusable("fewer than two completions")
    if len(set(ranking.ranks)) < 2:
        raise Unusable("all completions tied")
    ranked = set(zip(ranking.completions, ranking.ranks, strict=True))
    if len(ranked) > len(set(ranking.completions)):
        raise Unusable("equal completions of different ranks")
    return ranking


def _completion(value: Any) -> str:
    """A completion as text; TRL also allows it as one assistant message."""
    if isinstance(value, list) and value and isinstance(value[-1], Mapping):
        value = value[-1].get("content")
    if not isinstance(value, str) or not value.strip():
        raise Unusable("empty completion")
    return value.strip()


CONVERT: dict[Split, Callable[[Row], Any]] = {
    "demonstrations": _demonstration,
    "prompts": _prompt,
    "eval_prompts": _prompt,
    "pretraining": _text,
    "rankings": _ranking,
}
"""What makes an item of a split of its row; raises `Unusable`."""
