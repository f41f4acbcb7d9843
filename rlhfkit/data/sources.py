"""What stages read: rows of the chosen data sources, checked and in one form.

Rows that cannot be used are dropped and counted; a split without usable rows is an error.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rlhfkit.config.stages import LAST
from rlhfkit.console import console, count_of
from rlhfkit.context import Context
from rlhfkit.data import prepared
from rlhfkit.data.chat_template import CannotRender
from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT, LABELS, Row
from rlhfkit.data.schemas import Schema, schema_of
from rlhfkit.data.split_keys import Key, keys, place_of, position, prompt_key
from rlhfkit.data.text_format import TextFormat, plain_text
from rlhfkit.errors import UserError
from rlhfkit.types import Demonstration, Messages, Ranking, Split

LARGEST_SHARE = 5
"""Of so many of RL's prompts one may be set apart to select its policy by."""


def demonstrations(context: Context) -> list[Demonstration]:
    """The demonstrations, or none when no source has them; not those of held-out prompts."""
    return _not_held_out(context, "demonstrations")


def validation_demonstrations(context: Context) -> list[Demonstration]:
    """Those that the stage prepare set aside by user; none where it did not."""
    rows = prepared.rows(context, prepared.VALIDATION, "demonstrations")
    return [CONVERT["demonstrations"](row) for row in rows]


def pretraining_texts(context: Context) -> list[str]:
    """The texts of the pretraining mix, or none when no source has them; not the held-out ones."""
    share = context.config.pretraining_eval_fraction
    return [text for _, text in _read(context, "pretraining") if place_of(text) >= share]


def held_out_texts(context: Context) -> list[str]:
    """The pretraining texts that `pretraining_eval_fraction` holds out, in every stage the same.

    Raises `UserError` when it holds out none, or all.
    """
    share = context.config.pretraining_eval_fraction
    texts = [text for _, text in _read(context, "pretraining")]
    held_out = [text for text in texts if place_of(text) < share]
    if len(held_out) in (0, len(texts)):
        raise UserError(
            f"pretraining_eval_fraction={share}: holds out {len(held_out)} of the {len(texts)} "
            f"pretraining texts; give more texts, or another share"
        )
    return held_out


def rankings(context: Context) -> list[Ranking]:
    """Rankings that came with the data; pairs are the case K = 2. Not those of held-out prompts."""
    return _not_held_out(context, "rankings")


def renderable(context: Context, text: TextFormat, stored: list[Ranking]) -> list[Ranking]:
    """Rankings whose prompt the chat template takes; the others are counted."""
    kept, drops = [], Counter[str]()
    for ranking in stored:
        try:
            text.prompt_text(ranking.prompt)
            kept.append(ranking)
        except CannotRender as error:
            drops[error.reason] += 1
    report_drops(context, "rankings", drops, len(stored))
    return kept


def training_prompts(context: Context, text: TextFormat) -> list[Messages]:
    """Prompts for sampling and RL that fit the model; the held-out ones are not among them."""
    return _fitting(context, "prompts", prompts_to_train_on(context), text)


def prompts_to_rank(context: Context, text: TextFormat) -> list[Messages]:
    """Those whose completions are ranked: all, or the share `ranked_fraction`."""
    return _fitting(context, "prompts", part_of_prompts(context, ranked=True), text)


def prompts_of_rl(context: Context, text: TextFormat) -> list[Messages]:
    """Those that RL answers: all, or those that are not ranked; `stage.rl.num_prompts` of them."""
    return prompts_of_rl_and_selection(context, text)[0]


def prompts_of_rl_and_selection(
    context: Context, text: TextFormat
) -> tuple[list[Messages], list[Messages]]:
    """Those that RL answers, and those of `stage.rl.select_by`, which nothing trains or evaluates
    on: of the stage prepare's validation part, or else taken out of RL's. The latter are none where
    RL keeps its last policy."""
    found = _fitting(context, "prompts", part_of_prompts(context, ranked=False), text)
    rl, seed = context.config.stage.rl, context.config.seed
    apart: list[Messages] = []
    if rl.select_by != LAST:
        validation = _distinct(validation_prompts(context, text))
        most = len(validation) or len(_distinct(found)) // LARGEST_SHARE
        pool = validation or _distinct(found)
        apart = random.Random(seed).sample(pool, min(rl.select_prompts, most))
        if len(apart) < 2:
            raise UserError(
                f"stage.rl.select_by={rl.select_by}: {count_of(len(pool), 'prompt')} in all, too "
                f"few to set two apart; give more, or take stage.rl.select_by={LAST}"
            )
        taken = {prompt_key(prompt) for prompt in apart}
        found = [prompt for prompt in found if prompt_key(prompt) not in taken]
    if rl.num_prompts is not None and rl.num_prompts < len(found):
        found = random.Random(seed).sample(found, rl.num_prompts)
    return found, apart


def part_of_prompts(context: Context, ranked: bool) -> list[Messages]:
    """The training prompts on one side of `ranked_fraction`, of any length; all without it."""
    prompts, share = prompts_to_train_on(context), context.config.ranked_fraction
    if share is None:
        return prompts
    kept = [item for item in prompts if (place_of(f"ranked {plain_text(item)}") < share) is ranked]
    if not kept:
        raise UserError(
            f"ranked_fraction={share}: leaves no prompt to {'rank' if ranked else 'RL'} of the "
            f"{len(prompts)}; take another share, or more prompts"
        )
    return kept


def prompts_to_train_on(context: Context) -> list[Messages]:
    """The same of any length."""
    found = _prompts(context)
    held_out = _held_out_keys(context, found)
    return [prompt for row, prompt in found if not keys(row, prompt) & held_out]


def validation_prompts(context: Context, text: TextFormat) -> list[Messages]:
    """Prompts that the stage prepare set aside by user and that fit the model, for the reward
    model's validation; none where it did not."""
    rows = prepared.rows(context, prepared.VALIDATION, "prompts")
    return _fitting(context, "prompts", [row["prompt"] for row in rows], text) if rows else []


def validation_texts(context: Context) -> set[str]:
    """All prompts that validate the reward model, those of `rankings` too, as plain texts."""
    rows = [
        row
        for kind in ("prompts", "rankings")
        for row in prepared.rows(context, prepared.VALIDATION, kind)
    ]
    return {plain_text(row["prompt"]) for row in rows}


def held_out_prompts(context: Context, text: TextFormat) -> list[Messages]:
    """Prompts for evaluation that fit the model: the `eval_prompts` split, or a fixed share of the
    prompts."""
    return _fitting(context, "eval_prompts", prompts_to_evaluate_on(context), text)


def prompts_to_evaluate_on(context: Context) -> list[Messages]:
    """The same of any length."""
    given = [prompt for _, prompt in _read(context, "eval_prompts")]
    if given:
        return given
    return [prompt for row, prompt in _prompts(context) if _held_out(context, row, prompt)]


def _distinct(prompts: list[Messages]) -> list[Messages]:
    """Each prompt once."""
    return list({prompt_key(prompt): prompt for prompt in prompts}.values())


def places(context: Context) -> list[float]:
    """Where each prompt stands from 0 to 1: those below `eval_fraction` are held out."""
    return [position(row, prompt) for row, prompt in _prompts(context, quiet=True)]


def rows_of(context: Context, split: Split) -> list[dict[str, Any]]:
    """A split's usable rows in one form: `prompt` as messages, the columns of its kind, and the
    labels that they have."""
    return [_plain(row, item) for row, item in _read(context, split)]


def keys_of(context: Context, split: Split) -> set[Key]:
    """Prompts and users of a split, by which a leak is told."""
    found = _read(context, split, quiet=True)
    return set[Key]().union(*(keys(row, getattr(item, "prompt", item)) for row, item in found))


def option_of(context: Context, split: Split) -> str | None:
    """What gives a split, as in `data.files.prompts`; None when nothing does."""
    if prepared.exists(context):
        return f"{split} of the stage prepare" if prepared.training_rows(context, split) else None
    source = _source(context, split)
    return f"data.{source[0]}.{split}" if source else None


def report_drops(context: Context, what: str, drops: Counter[str], total: int) -> None:
    """Tell the user what was left out and why; silent when nothing was, and in a check, which
    counts it."""
    if context.findings is not None:
        context.findings.totals.setdefault(what, total)
        context.findings.drops[what] = context.findings.drops.get(what, Counter()) | drops
    elif drops:
        reasons = ", ".join(f"{count} ({reason})" for reason, count in drops.most_common())
        console.print(f"  [yellow]{what}: dropped {reasons} of {total}[/yellow]")


def _plain(row: Row, item: Any) -> dict[str, Any]:
    columns = {"prompt": item} if isinstance(item, list) else asdict(item)
    columns = {name: value for name, value in columns.items() if value is not None}
    return columns | {name: str(row[name]) for name in LABELS if row.get(name) is not None}


def _prompts(context: Context, quiet: bool = False) -> list[tuple[Row, Messages]]:
    """The rows of prompts; those of demonstrations where the data has no prompts."""
    found: list[tuple[Row, Messages]] = _read(context, "prompts", quiet)
    return found or [(row, item.prompt) for row, item in _read(context, "demonstrations", quiet)]


def _read(context: Context, split: Split, quiet: bool = False) -> list[tuple[Row, Any]]:
    """The usable rows of a split, each with what it was converted to."""
    if context.findings is None:
        return _usable(context, split, quiet)
    if split not in context.findings.rows:
        context.findings.rows[split] = _usable(context, split, quiet=False)
    found: list[tuple[Row, Any]] = context.findings.rows[split]
    return found


def _usable(context: Context, split: Split, quiet: bool) -> list[tuple[Row, Any]]:
    loaded = _load(context, split)
    if loaded is None:
        return []
    name, rows, schema = loaded
    kept, drops = [], Counter[str]()
    for found in rows:
        try:
            row = schema(found)
            kept.append((row, CONVERT[split](row)))
        except Unusable as error:
            drops[str(error)] += 1
    if not quiet:
        report_drops(context, split, drops, len(rows))
    if not kept:
        raise UserError(
            f"data {name}: no usable row in {split} ({count_of(len(rows), 'row')} read)"
        )
    return kept


def _load(context: Context, split: Split) -> tuple[str, Sequence[Row], Schema] | None:
    """Where a split's rows come from, the rows, and their form: of the stage prepare when it has
    run."""
    if split != "pretraining" and prepared.exists(context):
        rows = prepared.training_rows(context, split)
        return ("prepare", rows, schema_of("prepare", split, columns_of(rows))) if rows else None
    source = _source(context, split)
    if source is None:
        return None
    name, loader = source
    rows = loader.load(split)
    schema = schema_of(name, split, columns_of(rows))
    return name, schema.gather(rows) if schema.gather else rows, schema


def columns_of(rows: Any) -> list[str]:
    """The columns of a data set, or those that any of some rows has."""
    names = getattr(rows, "column_names", None)
    return list(dict.fromkeys(name for row in rows for name in row) if names is None else names)


def _not_held_out(context: Context, split: Split) -> list[Any]:
    """Items of rows that share neither prompt nor user with a held-out prompt."""
    found, held_out = _read(context, split), _held_out_keys(context)
    kept = [item for row, item in found if not keys(row, item.prompt) & held_out]
    drops = Counter({"prompt or user held out by eval_fraction": len(found) - len(kept)})
    report_drops(context, split, +drops, len(found))
    if found and not kept:
        raise UserError(f"eval_fraction={context.config.eval_fraction}: holds out all of {split}")
    return kept


def _held_out_keys(context: Context, prompts: list[tuple[Row, Messages]] | None = None) -> set[Key]:
    """The prompts that `eval_fraction` holds out, of demonstrations where the data has no prompts;
    none when `eval_prompts` are given."""
    if option_of(context, "eval_prompts") is not None:
        return set()
    prompts = _prompts(context, quiet=True) if prompts is None else prompts
    held_out = (keys(row, prompt) for row, prompt in prompts if _held_out(context, row, prompt))
    return set[Key]().union(*held_out)


def _held_out(context: Context, row: Row, prompt: Messages) -> bool:
    """A fixed pseudo-random share, the same in every stage and run."""
    return position(row, prompt) < context.config.eval_fraction


def _source(context: Context, split: Split) -> tuple[str, Any] | None:
    """The one chosen source that has a split. One whose options name it comes before those that
    bring it along, as the quickstart does."""
    having = [
        (name, source)
        for name, source in context.build_all("data").items()
        if split in source.splits()
    ]
    options = context.config.data
    having = [row for row in having if getattr(options[row[0]], split, None)] or having
    if len(having) > 1:
        names = " and ".join(name for name, _ in having)
        raise UserError(f"data: {names} both give {split}; leave it out of one of them")
    return having[0] if having else None


def _fitting(
    context: Context, split: str, prompts: list[Messages], text: TextFormat
) -> list[Messages]:
    limit = context.config.model.max_prompt_length
    kept, drops = [], Counter[str]()
    for prompt in prompts:
        try:
            if len(text.prompt_ids(prompt)) <= limit:
                kept.append(prompt)
            else:
                drops[f"longer than model.max_prompt_length={limit}"] += 1
        except CannotRender as error:
            drops[error.reason] += 1
    report_drops(context, split, drops, len(prompts))
    if not kept:
        reasons = "".join(f", {count} ({reason})" for reason, count in drops.most_common())
        raise UserError(
            f"no usable prompt in {split}: give data.<source>.{split}, or raise "
            f"model.max_prompt_length ({count_of(len(prompts), 'prompt')} read{reasons})"
        )
    return kept
