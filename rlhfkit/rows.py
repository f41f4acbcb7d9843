"""Rows of data as demonstrations, prompts, texts and rankings; what cannot be one is `Unusable`."""

from collections.abc import Callable, Mapping
from typing import Any

from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Demonstration, Messages, Ranking, Split

Row = Mapping[str, Any]


class Unusable(ValueError):
    """A row that is dropped; the text says why and is counted."""


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
        if not prompt.strip():
            raise Unusable("empty prompt")
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not prompt:
        raise Unusable("prompt is neither text nor messages")
    try:
        return [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in prompt]
    except (KeyError, TypeError) as error:
        raise Unusable("a message lacks role or content") from error


def _demonstration(row: Row) -> Demonstration:
    if row.get("messages"):
        turns = to_messages(row["messages"])
        if turns[-1]["role"] != "assistant" or len(turns) < 2:
            raise Unusable("messages do not end with the assistant's")
        return Demonstration(turns[:-1], _completion(turns[-1]["content"]))
    return Demonstration(to_messages(row["prompt"]), _completion(row["completion"]))


def _prompt(row: Row) -> Messages:
    if row.get("prompt") is not None:
        return to_messages(row["prompt"])
    turns = to_messages(row["messages"])
    return turns[:-1] if turns[-1]["role"] == "assistant" else turns


def _text(row: Row) -> str:
    if not isinstance(row["text"], str) or not row["text"].strip():
        raise Unusable("empty text")
    return row["text"]


def _ranking(row: Row) -> Ranking:
    prompt = to_messages(row["prompt"])
    if row.get("completions") is None:
        pair = [_completion(row["chosen"]), _completion(row["rejected"])]
        return _checked(Ranking(prompt, pair, [1, 2], [True, True], "data"))
    completions = [_completion(text) for text in row["completions"]]
    ranks = row["ranks"]
    if not isinstance(ranks, list) or len(ranks) != len(completions):
        raise Unusable("not one rank per completion")
    finished = row.get("finished") or [True] * len(completions)
    labeler = str(row.get("annotator") or row.get("labeler") or "data")
    return _checked(Ranking(prompt, completions, [int(rank) for rank in ranks], finished, labeler))


def _checked(ranking: Ranking) -> Ranking:
    if len(ranking.completions) < 2:
        raise Unusable("fewer than two completions")
    if len(set(ranking.ranks)) < 2:
        raise Unusable("all completions tied")
    return ranking


def _completion(value: Any) -> str:
    """A completion as text; TRL also allows it as one assistant message."""
    if isinstance(value, list) and value:
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
