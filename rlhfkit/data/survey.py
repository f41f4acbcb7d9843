"""What the data sources hold, before a run reads them: rows, what is left out of them and why, and
the lengths of a sample in tokens.

The rows are read and converted as the stages do it, by the same functions, with `context.findings`
set. Texts are rendered by the run's own format: all of a small split, a sample of a large one.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, TypeVar

from rich.markup import escape
from rich.table import Table

from rlhfkit.console import count_of, text_table
from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.chat_template import CannotRender
from rlhfkit.data.text_format import TextFormat
from rlhfkit.errors import UserError
from rlhfkit.types import Demonstration, Messages, Ranking

SAMPLE = 1000
"""Texts of a split that are rendered, beside one of each order of roles and the longest."""

T = TypeVar("T")


@dataclass(frozen=True)
class Length:
    """A limit of one kind of text."""

    option: str
    limit: int

    cut: bool = False
    """Whether longer ones are cut; else their rows are left out."""

    tokens: list[int] = field(default_factory=list)
    """Of the texts that were rendered."""

    def __str__(self) -> str:
        kind = self.option.rpartition(".")[2].removeprefix("max_").removesuffix("_length")
        shown = f"{kind} {median(self.tokens):.0f}, {max(self.tokens)}" if self.tokens else kind
        return f"{shown} ({'cut at ' if self.cut else ''}{self.limit})"


@dataclass(frozen=True)
class Found:
    """What stages will get of a split."""

    split: str
    rows: int
    used: int
    drops: dict[str, int]
    lengths: Sequence[Length] = ()

    @property
    def longest(self) -> int:
        """The longest text that is kept, in tokens; of prompts and completions the sum."""
        return sum(min(max(item.tokens, default=0), item.limit) for item in self.lengths)


def demonstrations(context: Context, text: TextFormat | None, stage: str) -> Found:
    """What the stage sft or rl_sft trains on. Raises `UserError` when nothing is left."""
    limit = getattr(context.config.stage, stage).max_completion_length
    lengths = [_prompts_limit(context), Length(f"stage.{stage}.max_completion_length", limit)]

    def render(text: TextFormat, item: Demonstration) -> Iterator[list[int]]:
        yield from text.demonstration_ids(item)

    items = sources.demonstrations(context)
    return _found(context, "demonstrations", items, text, lengths, render)


def training_prompts(context: Context, text: TextFormat | None) -> Found:
    """What stages sample and rl answer. Raises `UserError` when nothing is left."""
    total, items = len(sources.places(context)), sources.prompts_to_train_on(context)
    if total and not items:
        share, all_of_it = context.config.eval_fraction, count_of(total, "prompt")
        raise UserError(f"eval_fraction={share}: holds out all there is, {all_of_it}")
    found = _found(context, "prompts", items, text, [_prompts_limit(context)], _render_prompt)
    held_out = {"held out by eval_fraction": total - len(items)}
    return replace(found, rows=total, drops=found.drops | held_out)


def evaluation_prompts(context: Context, text: TextFormat | None) -> Found:
    """What the stage evaluate answers. Raises `UserError` when nothing is held out."""
    items = sources.prompts_to_evaluate_on(context)
    if not items:
        raise UserError(_nothing_held_out(context.config.eval_fraction, sources.places(context)))
    lengths = [_prompts_limit(context)]
    found = _found(context, "eval_prompts", items, text, lengths, _render_prompt)
    return replace(found, rows=found.used + sum(found.drops.values()))


def _render_prompt(text: TextFormat, item: Messages) -> Iterator[list[int]]:
    yield text.prompt_ids(item)


def _nothing_held_out(share: float, places: Sequence[float]) -> str:
    """places: where the prompts stand from 0 to 1."""
    enough = (math.floor(100 * min(places, default=1)) + 1) / 100
    leaves_some = enough <= max(places, default=0)
    other = f", or take eval_fraction={enough:g}" if leaves_some else ""
    return (
        f"eval_fraction={share}: holds out none of {count_of(len(places), 'prompt')}, and stage "
        f"evaluate needs some; give data.<source>.eval_prompts{other}"
    )


def rankings(context: Context, text: TextFormat | None) -> Found:
    """What the stage label takes over and the reward model learns from."""
    limit = context.config.stage.reward_model.max_completion_length
    option = "stage.reward_model.max_completion_length"
    lengths = [_prompts_limit(context), Length(option, limit, cut=True)]

    def render(text: TextFormat, item: Ranking) -> Iterator[list[int]]:
        yield text.prompt_ids(item.prompt)
        texts = zip(item.completions, item.finished, strict=True)
        yield max((text.completion_ids(*pair) for pair in texts), key=len)

    labeler: Any = context.build("labeler")
    return _found(context, "rankings", labeler.rankings(), text, lengths, render)


def pretraining(context: Context, text: TextFormat | None, option: str, limit: int) -> Found:
    """The texts of the pretraining mix, each cut at `limit` tokens by an option."""
    lengths = [Length(option, limit, cut=True)]

    def render(text: TextFormat, item: str) -> Iterator[list[int]]:
        yield text.text_ids(item)

    items = sources.pretraining_texts(context)
    return _found(context, "pretraining", items, text, lengths, render)


def _prompts_limit(context: Context) -> Length:
    return Length("model.max_prompt_length", context.config.model.max_prompt_length)


def _found(
    context: Context,
    split: str,
    items: Sequence[T],
    text: TextFormat | None,
    lengths: list[Length],
    render: Callable[[TextFormat, T], Iterable[list[int]]],
) -> Found:
    """Render a sample, and count what is too long of it. Raises `UserError` when all is."""
    assert context.findings is not None
    drops = dict(context.findings.drops.get(split, {}))
    total = context.findings.totals.get(split, len(items))
    if text is None or not items:
        return Found(split, total, len(items), drops, lengths)

    def left_out(item: T) -> str | None:
        try:
            counts = [len(ids) for ids in render(text, item)]
        except CannotRender as error:
            return error.reason
        for length, count in zip(lengths, counts, strict=True):
            length.tokens.append(count)
        pairs = zip(lengths, counts, strict=True)
        over = (each for each, count in pairs if count > each.limit and not each.cut)
        return next((f"longer than {each.option}={each.limit}" for each in over), None)

    sample = _sample(items)
    reasons = [reason for reason in map(left_out, sample) if reason is not None]
    if len(reasons) == len(sample) and all(map(left_out, items)):
        raise UserError(_nothing_fits(split, lengths, reasons[0], len(items)))
    some = "" if len(sample) == len(items) else f", of a sample of {len(sample)}"
    for reason in reasons:
        drops[f"{reason}{some}"] = drops.get(f"{reason}{some}", 0) + 1
    return Found(split, total, len(items) - len(reasons), drops, lengths)


def _nothing_fits(split: str, lengths: Sequence[Length], reason: str, count: int) -> str:
    kind = "prompt" if split.endswith("prompts") else "row"
    if not lengths[0].tokens:  # not one of them was rendered
        return f"no usable {kind} in {split}: {reason}; set model.chat_template or model.chat=false"
    shortest = [
        f"{item.option}={min(item.tokens)}"
        for item in lengths
        if not item.cut and min(item.tokens) > item.limit
    ]
    limits = " and ".join(item.option for item in lengths if not item.cut)
    least = f"; the shortest needs {' and '.join(shortest)}" if shortest else ""
    return f"no usable {kind} in {split}: all {count} are too long; raise {limits}{least}"


def _sample(items: Sequence[T]) -> list[T]:
    """Evenly spaced ones, the first of each order of roles, and the longest: a chat template may
    refuse an order, and limits are about the longest."""
    if len(items) <= SAMPLE:
        return list(items)
    chosen = {place * len(items) // SAMPLE for place in range(SAMPLE)}
    roles: dict[Any, int] = {}
    for index, item in enumerate(items):
        roles.setdefault(_roles(item), index)
    longest = max(range(len(items)), key=lambda index: len(repr(items[index])))
    return [items[index] for index in sorted({*chosen, *roles.values(), longest})]


def _roles(item: Any) -> tuple[str, ...]:
    """The speakers of a prompt in their order; none of a plain text."""
    turns = getattr(item, "prompt", item)
    return () if isinstance(turns, str) else tuple(turn["role"] for turn in turns)


def table(found: Iterable[Found]) -> Table:
    """Splits down; rows, what is used and left out of them, and lengths across."""
    head = ("data", "rows", "used", "left out", "tokens: median, longest (limit)")
    made = text_table(*head, title="Data", whole=("rows", "used"))
    for item in found:
        reasons = "\n".join(f"{count} {reason}" for reason, count in item.drops.items() if count)
        lengths = "\n".join(map(str, item.lengths))
        made.add_row(item.split, str(item.rows), str(item.used), escape(reasons), lengths)
    return made
