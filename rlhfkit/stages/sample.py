"""Stage sample: K completions per prompt from one or several models, to be ranked.

1. choose prompts  2. for each model: load it and draw its share of the K  3. write completions

Writes: completions.jsonl (a row per prompt: K completions, their models, whether they ended by
themselves, token ids and log-probabilities), metrics.jsonl. Source: InstructGPT, section 3.2 (K = 4
to 9).
"""

import random
from functools import partial
from typing import Any

from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.reporting import Reporter
from rlhfkit.stages.completions import CompletionSampler
from rlhfkit.storage.catalogue import COMPLETIONS_FILE
from rlhfkit.storage.run_dir import write_jsonl
from rlhfkit.types import Messages, Response


def run(context: Context) -> None:
    """Sample and write completions."""
    config = context.config.stage.sample
    text = load_text_format(context)
    prompts = sources.prompts_to_rank(context, text) + sources.validation_prompts(context, text)
    random.Random(context.config.seed).shuffle(prompts)
    prompts = prompts[: config.num_prompts]
    rows = [_empty_row(prompt) for prompt in prompts]
    prompt_ids = [text.prompt_ids(prompt) for prompt in prompts]
    with Reporter(context) as reporter:
        answers = CompletionSampler(context, reporter)
        for name, count in _shares(config.models, config.num_completions).items():
            asked = [ids for ids in prompt_ids for _ in range(count)]
            drawn = answers.of(name, partial(load_policy, context, name), asked, text.ends)
            for index, response in enumerate(drawn):
                _add(rows[index // count], name, text, response)
    write_jsonl(context.stage_dir / COMPLETIONS_FILE, rows)


def _shares(models: list[str], completions: int) -> dict[str, int]:
    """How many of the K completions each model writes."""
    turns = [models[turn % len(models)] for turn in range(completions)]
    return {name: turns.count(name) for name in models}


def load_policy(context: Context, name: str) -> LanguageModel:
    """A frozen model of the run (`base`, `sft`, `rl_sft`, `rl`), of a directory or the hub."""
    path: str | None = name
    if name == "base":
        path = None
    elif name in ("sft", "rl_sft", "rl"):
        path = str(context.output_of(name, "model"))
    model: LanguageModel = context.build("loader").language_model(path)
    return model


def _empty_row(prompt: Messages) -> dict[str, Any]:
    columns = ("completions", "finished", "sources", "ids", "logprobs")
    return {"prompt": prompt, **{column: [] for column in columns}}


def _add(row: dict[str, Any], name: str, text: TextFormat, response: Response) -> None:
    row["completions"].append(text.decode(response.ids))
    row["finished"].append(response.ended)
    row["sources"].append(name)
    row["ids"].append(response.ids)
    row["logprobs"].append([round(logprob, 5) for logprob in response.logprobs])
