"""Stage prepare: the data filtered, split by user and counted at every step, before training.

1. length limits  2. one of the prompts with a long shared prefix  3. cap per user  4. split by user
5. no personal data in the training part  6. labeler and customer prompts mixed  7. few-shot prompts

Writes: <part>/<kind>.jsonl (train, validation, test), which later stages read in place of the data
sources; counts.json. Pretraining texts pass by. Source: InstructGPT, sections 3.2 and A.
"""

from contextlib import suppress
from typing import Any

from rich.table import Table

from rlhfkit.console import console, text_table
from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.chat_template import CannotRender
from rlhfkit.data.prepared import TEST, TRAIN, VALIDATION, path
from rlhfkit.data.split_keys import user_of
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.errors import UserError
from rlhfkit.stages import prepare_steps
from rlhfkit.stages.prepare_steps import Row, Rows
from rlhfkit.storage.catalogue import COUNTS_FILE
from rlhfkit.storage.run_dir import write_json, write_jsonl
from rlhfkit.types import Split

KINDS: tuple[Split, ...] = ("demonstrations", "prompts", "rankings", "eval_prompts")

ByKind = dict[str, Rows]


class Counts:
    """How many rows of each kind are left after each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def after(self, step: str, rows: ByKind) -> ByKind:
        """Count the rows that a step left and give them back.

        Raises `UserError` when a kind had rows and has none left.
        """
        for kind, items in rows.items():
            if not items and any(found.get(kind) for found in self.steps):
                raise UserError(f"stage prepare: {step} leaves no row of {kind}")
        self.steps.append({"step": step} | {kind: len(rows[kind]) for kind in rows if rows[kind]})
        return rows


def run(context: Context) -> None:
    """Prepare and write the rows; every step is off unless its option is set."""
    if pii := context.config.stage.prepare.pii:
        prepare_steps.pii_finder(pii)  # a wrong kind is told before the rows are read
    counts = Counts()
    rows = counts.after("read", _read(context))
    rows = _filter(context, rows, counts)
    parts = _split(context, rows, counts)
    parts[TRAIN] = _filter_training(context, parts[TRAIN], counts)
    if context.config.stage.prepare.few_shot:
        _add_examples(context, parts, counts)
    for part, kinds in parts.items():
        for kind, items in kinds.items():
            if items:
                file = path(context, part, kind)
                file.parent.mkdir(exist_ok=True)
                write_jsonl(file, items)
    write_json(context.stage_dir / COUNTS_FILE, counts.steps)
    console.print(counts_table(counts.steps))


def _read(context: Context) -> ByKind:
    """The data sources' rows; with a test part of its own a run without prompts has those of its
    demonstrations. Raises `UserError` for an option that the rows give nothing to do."""
    config = context.config.stage.prepare
    rows: ByKind = {kind: sources.rows_of(context, kind) for kind in KINDS}
    everything = [row for items in rows.values() for row in items]
    if config.test_fraction and rows["eval_prompts"]:
        raise UserError(
            f"stage.prepare.test_fraction={config.test_fraction}: the data gives eval_prompts; "
            f"leave out one of them"
        )
    if config.max_per_user and all(user_of(row) is None for row in everything):
        raise UserError(f"stage.prepare.max_per_user={config.max_per_user}: no row has a 'user'")
    if config.few_shot and not any(map(prepare_steps.is_few_shot, rows["demonstrations"])):
        raise UserError(
            f"stage.prepare.few_shot={config.few_shot}: no demonstration has an 'instruction'"
        )
    if config.few_shot and not (config.test_fraction or rows["eval_prompts"]):
        raise UserError(
            f"stage.prepare.few_shot={config.few_shot}: needs held-out prompts that are apart; set "
            f"stage.prepare.test_fraction, or give data.<source>.eval_prompts"
        )
    if config.test_fraction and not rows["prompts"]:
        rows["prompts"] = [_without_completion(row) for row in rows["demonstrations"]]
    return rows


def _without_completion(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "completion"}


def _filter(context: Context, rows: ByKind, counts: Counts) -> ByKind:
    """Length limits, shared prefixes, cap per user."""
    config = context.config.stage.prepare
    if config.max_prompt_length or config.max_completion_length:
        text = load_text_format(context)
        rows = {
            kind: [row for row in items if _within_limits(context, text, row)]
            for kind, items in rows.items()
        }
        counts.after("length limits", rows)
    if config.dedup_prefix:
        length = config.dedup_prefix
        rows = {kind: prepare_steps.deduplicated(items, length) for kind, items in rows.items()}
        counts.after("shared prefix", rows)
    if config.max_per_user:
        limit = config.max_per_user
        rows = {kind: prepare_steps.capped(items, limit) for kind, items in rows.items()}
        counts.after("cap per user", rows)
    return rows


def _within_limits(context: Context, text: TextFormat, row: Row) -> bool:
    """Tokens as the model reads them: the prompt with its template, completions with EOS."""
    config = context.config.stage.prepare
    with suppress(CannotRender):  # later stages drop such a row and count it
        longest = config.max_prompt_length
        if longest and len(text.prompt_ids(row["prompt"])) > longest:
            return False
    limit = config.max_completion_length
    return limit is None or all(
        len(text.completion_ids(item)) <= limit for item in prepare_steps.completions_of(row)
    )


def _split(context: Context, rows: ByKind, counts: Counts) -> dict[str, ByKind]:
    """Training, validation and test rows; `eval_prompts` are the test part's prompts."""
    config = context.config.stage.prepare
    given = rows.pop("eval_prompts")
    parts = prepare_steps.split_by_user(rows, config.validation_fraction, config.test_fraction)
    if config.validation_fraction or config.test_fraction:
        if all(user_of(row) is None for items in rows.values() for row in items):
            console.print("  [yellow]rows have no 'user': split by prompt[/yellow]")
        for part in (TEST, VALIDATION):
            held_out = {kind: items for kind, items in parts[part].items() if items}
            counts.after(f"split by user: {part}", held_out)
        counts.after(f"split by user: {TRAIN}", parts[TRAIN])
    parts[TEST]["prompts"] += given
    return parts


def _filter_training(context: Context, rows: ByKind, counts: Counts) -> ByKind:
    """Personal data, and the mix of labelers and customers."""
    config = context.config.stage.prepare
    if config.pii:
        rows = {kind: prepare_steps.without_pii(items, config.pii) for kind, items in rows.items()}
        counts.after("train: personal data", rows)
    shares = _labeler_shares(context)
    if shares:
        for kind, share in shares.items():
            mix = {"labeler": share, "customer": 1 - share}
            rows[kind] = prepare_steps.mixed(rows[kind], mix, context.config.seed)
        counts.after("train: labelers and customers mixed", rows)
    return rows


def _labeler_shares(context: Context) -> dict[str, float]:
    """By the kinds of data that are mixed."""
    chosen = vars(context.config.stage.prepare.labeler_share)
    return {kind: share for kind, share in chosen.items() if share is not None}


def _add_examples(context: Context, parts: dict[str, ByKind], counts: Counts) -> None:
    """Few-shot prompts in every part, of that part's own demonstrations."""
    text = load_text_format(context)
    limit = context.config.model.max_prompt_length

    def fits(row: Row) -> bool:
        return len(text.prompt_ids(row["prompt"])) <= limit

    count = context.config.stage.prepare.few_shot
    for rows in parts.values():
        rows["demonstrations"] = prepare_steps.with_examples(rows["demonstrations"], count, fits)
    few_shot = filter(prepare_steps.is_few_shot, parts[TRAIN]["demonstrations"])
    counts.after("train: of these few-shot", {"demonstrations": list(few_shot)})


def counts_table(steps: list[dict[str, Any]]) -> Table:
    """Steps down, kinds of data across."""
    kinds = [kind for kind in KINDS if any(kind in step for step in steps)]
    table = text_table("rows after", *kinds)
    for step in steps:
        table.add_row(step["step"], *(str(step.get(kind, "")) for kind in kinds))
    return table
