"""What stages read: rows of the chosen data sources, checked and in one form.

Rows that cannot be used are dropped and counted; a split without usable rows is an error.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.text import TextFormat, plain_text
from rlhfkit.types import Demonstration, Messages, Ranking, Split

Row = Mapping[str, Any]
T = TypeVar("T")


class Unusable(ValueError):
    """A row that is dropped; the text says why and is counted."""


def demonstrations(context: Context) -> list[Demonstration]:
    """The demonstrations, or none when no source has them."""
    return _read(context, "demonstrations", _demonstration)


def pretraining_texts(context: Context) -> list[str]:
    """The texts of the pretraining mix, or none when no source has them."""
    return _read(context, "pretraining", _text)


def rankings(context: Context) -> list[Ranking]:
    """Rankings that came with the data; pairs are the case K = 2."""
    return _read(context, "rankings", _ranking)


def training_prompts(context: Context, text: TextFormat) -> list[Messages]:
    """Prompts for sampling and RL that fit the model; the held-out ones are not among them."""
    prompts = _read(context, "prompts", _prompt)
    if not prompts:
        prompts = [row.prompt for row in demonstrations(context)]
    if _source(context, "eval_prompts") is None:
        prompts = [row for row in prompts if not _held_out(row, context.config.eval_fraction)]
    return _fitting(context, "prompts", prompts, text)


def held_out_prompts(context: Context, text: TextFormat) -> list[Messages]:
    """Prompts for evaluation: the `eval_prompts` split, or a fixed share of the prompts."""
    prompts = _read(context, "eval_prompts", _prompt)
    if not prompts:
        everything = _read(context, "prompts", _prompt)
        prompts = [row for row in everything if _held_out(row, context.config.eval_fraction)]
    return _fitting(context, "eval_prompts", prompts, text)


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


def report_drops(context: Context, what: str, drops: Counter[str], total: int) -> None:
    """Tell the user what was left out and why; silent when nothing was."""
    if drops:
        reasons = ", ".join(f"{count} ({reason})" for reason, count in drops.most_common())
        console.print(f"  [yellow]{what}: dropped {reasons} of {total}[/yellow]")


def _read(context: Context, split: Split, convert: Callable[[Row], T]) -> list[T]:
    source = _source(context, split)
    if source is None:
        return []
    name, loader = source
    rows = loader.load(split)
    _check_columns(name, split, rows.column_names)
    kept, drops = [], Counter[str]()
    for row in rows:
        try:
            kept.append(convert(row))
        except Unusable as error:
            drops[str(error)] += 1
    report_drops(context, split, drops, len(rows))
    if not kept:
        raise UserError(f"data {name}: no usable row in {split} ({len(rows)} rows read)")
    return kept


def _source(context: Context, split: Split) -> tuple[str, Any] | None:
    """The one chosen source that has a split."""
    having = [
        (name, source)
        for name, source in context.build_all("data").items()
        if split in source.splits()
    ]
    if len(having) > 1:
        names = " and ".join(name for name, _ in having)
        raise UserError(f"data: {names} both give {split}; leave it out of one of them")
    return having[0] if having else None


_NEEDED: dict[Split, tuple[tuple[str, ...], ...]] = {
    "demonstrations": (("prompt", "completion"), ("messages",)),
    "prompts": (("prompt",), ("messages",)),
    "eval_prompts": (("prompt",), ("messages",)),
    "pretraining": (("text",),),
    "rankings": (("prompt", "completions", "ranks"), ("prompt", "chosen", "rejected")),
}


def _check_columns(name: str, split: Split, columns: list[str]) -> None:
    choices = _NEEDED[split]
    if any(set(choice) <= set(columns) for choice in choices):
        return
    missing = next(column for column in choices[0] if column not in columns)
    forms = " or ".join("+".join(choice) for choice in choices)
    raise UserError(
        f"data {name}: {split} has no column '{missing}' (needs {forms}); "
        f"{nearest(missing, columns)}"
    )


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


def _held_out(prompt: Messages, fraction: float) -> bool:
    """A fixed pseudo-random share of prompts, the same in every stage and run."""
    digest = hashlib.sha256(plain_text(prompt).encode()).digest()
    return int.from_bytes(digest[:4], "big") < fraction * 2**32


def _fitting(
    context: Context, split: str, prompts: list[Messages], text: TextFormat
) -> list[Messages]:
    limit = context.config.model.max_prompt_length
    kept = [prompt for prompt in prompts if len(text.prompt_ids(prompt)) <= limit]
    drops = Counter({f"longer than model.max_prompt_length={limit}": len(prompts) - len(kept)})
    report_drops(context, split, +drops, len(prompts))
    if not kept:
        raise UserError(
            f"no usable prompt in {split}: give data.<source>.{split}, or raise "
            f"model.max_prompt_length ({len(prompts)} prompts read)"
        )
    return kept
