"""`rlhfkit score RUN --file FILE`: the reward model's numbers for a file of answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rlhfkit.commands.jsonl_files import append_rows, read_input
from rlhfkit.console import console, count_of
from rlhfkit.context import Context
from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.errors import UserError
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import by_micro_batch
from rlhfkit.types import Messages

Answer = tuple[Messages, str, bool]
"""A prompt, a completion, and whether it ended by itself."""


def score(context: Context) -> None:
    """Write the rows with `score`, or `scores` where a row has several completions."""
    options = context.config.score
    if options.file is None:
        raise UserError("score: say which answers, as in rlhfkit score RUN --file FILE")
    source = Path(options.file)
    target = Path(options.to or source.with_name(f"{source.stem}.scored.jsonl"))
    if target.exists():
        raise UserError(f"{target}: is there already; choose another score.to or remove it")
    rows = read_input(source)
    answers = [_answers(source, place, row) for place, row in enumerate(rows)]
    numbers = iter(_scores(context, [item for found in answers for item in found]))
    for row, found in zip(rows, answers, strict=True):
        own = [next(numbers) for _ in found]
        row.update({"scores": own} if "completions" in row else {"score": own[0]})
    append_rows(target, rows)
    every = [value for row in rows for value in row.get("scores", [row.get("score")])]
    mean = sum(every) / len(every)
    said = f"{count_of(len(every), 'score')}, mean {mean:.4g}: {target}"
    console.print(said, markup=False, soft_wrap=True)


def _answers(source: Path, place: int, row: dict[str, Any]) -> list[Answer]:
    several = row.get("completions")
    given = several if isinstance(several, list) else [None]
    finished = row.get("finished", True)
    flags = finished if isinstance(finished, list) else [finished] * len(given)
    try:
        if len(flags) != len(given):
            raise Unusable("not one of 'finished' per completion")
        items = [
            CONVERT["demonstrations"](row if answer is None else {**row, "completion": answer})
            for answer in given
        ]
    except Unusable as error:
        raise UserError(f"{source}: row {place + 1}: {error}") from error
    return [
        (item.prompt, item.completion, bool(flag)) for item, flag in zip(items, flags, strict=True)
    ]


def _scores(context: Context, answers: Sequence[Answer]) -> list[float]:
    path = context.model_of("reward_model")
    if path is None:
        raise UserError(f"score: {context.run_dir.root} has no finished reward model")
    text: TextFormat = load_text_format(context)
    model = context.build("loader").scalar_model(path)
    rows = by_micro_batch(
        model.language_model,
        [text.prompt_ids(prompt) for prompt, _, _ in answers],
        [text.completion_ids(completion, flag) for _, completion, flag in answers],
        AdaptiveBatchSize("scores", context.config.score.batch_size),
        model.scores,
    )
    found: list[float] = torch.stack(rows).tolist()
    return [round(value, 6) for value in found]
