"""`rlhfkit generate RUN --prompts FILE`: a policy's answers to a file, resumed where it stopped."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlhfkit.commands.jsonl_files import append_rows, read_input, whole_rows
from rlhfkit.console import console, count_of, progress_bar
from rlhfkit.context import Context
from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.data.text_format import load_text_format
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.models.sampling import sampler_for
from rlhfkit.stages.completions import PROMPTS_AT_ONCE
from rlhfkit.stages.sample import load_policy
from rlhfkit.types import Messages


def generate(context: Context) -> None:
    """Write a row for each answer: that of the prompt, with `completion`, `finished`, `policy`."""
    options = context.config.generate
    if options.prompts is None:
        raise UserError("generate: say which prompts, as in rlhfkit generate RUN --prompts FILE")
    source = Path(options.prompts)
    rows = [row for row in read_input(source) for _ in range(options.num_completions)]
    prompts = list(_prompts(source, rows))
    name = options.policy if options.policy.isidentifier() else Path(options.policy).name
    target = Path(options.to or source.with_name(f"{source.stem}.{name}.jsonl"))
    done = whole_rows(target)
    _check_same(target, done, prompts)
    if len(done) < len(rows):
        _answer(context, target, rows, prompts, len(done))
    console.print(f"{count_of(len(rows), 'answer')}: {target}", markup=False, soft_wrap=True)


def _answer(
    context: Context,
    target: Path,
    rows: Sequence[dict[str, Any]],
    prompts: Sequence[Messages],
    done: int,
) -> None:
    policy = context.config.generate.policy
    text = load_text_format(context)
    asked = [text.prompt_ids(prompt) for prompt in prompts]
    limit = context.config.model.max_prompt_length
    for place, ids in enumerate(asked):
        if len(ids) > limit:
            raise UserError(
                f"{context.config.generate.prompts}: prompt {place + 1} has {len(ids)} tokens, "
                f"more than model.max_prompt_length={limit}"
            )
    model = load_policy(context, policy)
    sampler = sampler_for(context, model)
    generator = processes.generator(context.config.seed, context.device)
    with progress_bar(f"generate {policy}", len(rows), done) as bar:
        for start in range(done, len(rows), PROMPTS_AT_ONCE):
            part = range(start, min(start + PROMPTS_AT_ONCE, len(rows)))
            generator.manual_seed(context.config.seed + start)
            drawn = sampler.sample(model, [asked[row] for row in part], text.ends, generator)
            answers = [
                {
                    **rows[row],
                    "prompt": prompts[row],
                    "completion": text.decode(response.ids),
                    "finished": response.ended,
                    "policy": policy,
                }
                for row, response in zip(part, drawn, strict=True)
            ]
            append_rows(target, answers)
            bar.count_tokens(sum(len(response.ids) for response in drawn))
            bar.advance(len(part))


def _prompts(source: Path, rows: Sequence[dict[str, Any]]) -> Iterator[Messages]:
    for place, row in enumerate(rows):
        try:
            yield CONVERT["prompts"](row)
        except Unusable as error:
            raise UserError(f"{source}: row {place + 1}: {error}") from error


def _check_same(target: Path, done: Sequence[dict[str, Any]], prompts: Sequence[Messages]) -> None:
    """What is there must be the beginning of this."""
    for place, row in enumerate(done):
        if place >= len(prompts) or json.dumps(row.get("prompt")) != json.dumps(prompts[place]):
            raise UserError(
                f"{target}: row {place + 1} answers another prompt; choose another generate.to, or "
                f"remove it"
            )
