"""Rows of data as demonstrations, prompts, texts and rankings; what cannot be one is `Unusable`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from rlhfkit.data.messages import (
    ANSWER_INPUTS,
    Unusable,
    to_messages,
    turns_of,
    with_answers,
    with_template_inputs,
    with_text,
)
from rlhfkit.types import Demonstration, Message, Messages, Ranking, Split

Row = Mapping[str, Any]

LABELS = ("user", "source", "instruction")
"""Columns that rows of any split may have: who wrote the prompt, where it is from (the paper's
labelers and customers), and the instruction that several demonstrations have in common."""

COLUMNS = (
    "prompt", "completion", "messages", "text", "completions", "ranks", "scores", "chosen",
    "rejected", "finished", "annotator", "tools", "chat_template_kwargs", *LABELS,
)  # fmt: skip
"""All that is read of rows; what a file calls otherwise can be mapped to these names."""

_HIGHEST_RANK = 2**31


def _demonstration(row: Row) -> Demonstration:
    if row.get("label") is False:  # TRL's unpaired preferences
        raise Unusable("an answer labelled as bad")
    if row.get("messages"):
        turns = turns_of(row["messages"])
        if turns[-1]["role"] != "assistant" or len(turns) < 2:
            raise Unusable("messages do not end with the assistant's")
        prompt, answer = with_text(turns[:-1]), turns[-1]
    else:
        given = row.get("answer") if isinstance(row.get("answer"), Mapping) else None
        prompt, (answer,) = with_answers(
            to_messages(row.get("prompt")), [given or row.get("completion")]
        )
    more = answer if any(answer.get(name) for name in ANSWER_INPUTS) else None
    text = answer["content"].rstrip() if more else _completion(answer)
    return Demonstration(with_template_inputs(prompt, row), text, more)


def _prompt(row: Row) -> Messages:
    if row.get("prompt") is not None:
        return with_template_inputs(to_messages(row["prompt"]), row)
    turns = turns_of(row.get("messages"))
    asked = with_text(turns[:-1] if turns[-1]["role"] == "assistant" else turns)
    return with_template_inputs(asked, row)


def _text(row: Row) -> str:
    if not isinstance(row["text"], str) or not row["text"].strip():
        raise Unusable("empty text")
    return row["text"]


def _ranking(row: Row) -> Ranking:
    pair = row.get("completions") is None
    given = [row.get("chosen"), row.get("rejected")] if pair else _listed(row, "completions")
    ranks = [1, 2] if pair else ranks_of(row, len(given))
    asked = None if pair and "prompt" not in row else to_messages(row.get("prompt"))
    prompt, answers = with_answers(asked, given)
    if any(answer.get(name) for answer in answers for name in ANSWER_INPUTS):
        raise Unusable("an answer to be ranked has tool calls or reasoning")
    completions = [_completion(answer) for answer in answers]
    labeler = "data" if pair else str(row.get("annotator") or row.get("labeler") or "data")
    finished = [True, True] if pair else _finished(row, len(completions))
    prompt = with_template_inputs(prompt, row)
    return _checked(Ranking(prompt, completions, ranks, finished, labeler))


def ranks_of(row: Row, count: int) -> list[int]:
    """The ranks, or those that scores say: the highest is best, equal ones are ties."""
    if row.get("ranks") is None and row.get("scores") is not None:
        scores = [_score(value) for value in _listed(row, "scores", count)]
        return [1 + sum(other > score for other in scores) for score in scores]
    return [_rank(value) for value in _listed(row, "ranks", count)]


def _score(value: Any) -> float:
    """A number, as 2, 2.5 or "2.5"."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise Unusable("a score is no number")
    return number


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


def _completion(answer: Message) -> str:
    """An answer's text; blanks at its beginning are its own, as of indented code."""
    text: str = answer["content"].rstrip()
    if not text:
        raise Unusable("empty completion")
    return text


def _in_unicode(convert: Callable[[Row], Any]) -> Callable[[Row], Any]:
    """What a row is converted to, where all of its texts can be written to a file."""

    def converted(row: Row) -> Any:
        item = convert(row)
        _require_unicode(item if isinstance(item, str | list) else vars(item))
        _require_unicode([row.get(name) for name in LABELS])
        return item

    return converted


def _require_unicode(value: Any) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unusable("half a surrogate pair, which is no text") from error
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _require_unicode(part)


_CONVERT: dict[Split, Callable[[Row], Any]] = {
    "demonstrations": _demonstration,
    "prompts": _prompt,
    "eval_prompts": _prompt,
    "pretraining": _text,
    "rankings": _ranking,
}

CONVERT: dict[Split, Callable[[Row], Any]] = {
    split: _in_unicode(convert) for split, convert in _CONVERT.items()
}
"""What makes an item of a split of its row; raises `Unusable`."""
