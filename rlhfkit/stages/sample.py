"""Stage sample: K completions per prompt from one or several models, to be ranked.

1. choose prompts, in a later round new ones first  2. for each model: load it and draw its share of
the K  3. write completions

Writes: completions.jsonl (a row per prompt: K completions, their models, whether they ended by
themselves, token ids and log-probabilities), metrics.jsonl. Source: InstructGPT, section 3.2 (K = 4
to 9) and 3.1 (later rounds sample from the current best policy).
"""

import random
from functools import partial
from typing import Any

from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.artifacts import stored_completions
from rlhfkit.data.split_keys import prompt_key
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.reporting import Reporter, read_metrics
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
    prompts = _new_ones_first(context, prompts)
    prompts = prompts[: config.num_prompts]
    rows = [_empty_row(prompt) for prompt in prompts]
    prompt_ids = [text.prompt_ids(prompt) for prompt in prompts]
    with Reporter(context) as reporter:
        answers = CompletionSampler(context, reporter, _seed(context))
        models = _models(context)
        for name, count in _shares(models, config.num_completions).items():
            asked = [ids for ids in prompt_ids for _ in range(count)]
            drawn = answers.of(name, partial(load_policy, context, name), asked, text.ends)
            for index, response in enumerate(drawn):
                _add(rows[index // count], name, text, response)
    write_jsonl(context.stage_dir / COMPLETIONS_FILE, rows)


def _shares(models: list[str], completions: int) -> dict[str, int]:
    """How many of the K completions each model writes."""
    turns = [models[turn % len(models)] for turn in range(completions)]
    return {name: turns.count(name) for name in models}


def _models(context: Context) -> list[str]:
    """Who answers in this round; `best` by the round whose policy it is."""
    best = f"round{best_round(context)}"
    chosen = context.config.stage.sample.models_of(context.config.round)
    if "best" in chosen:
        console.print(f"  the best policy so far is that of {best}")
    return [best if name == "best" else name for name in chosen]


def best_round(context: Context) -> int:
    """The earlier round with the highest win rate against the SFT model, which they share; the last
    one where none was measured."""
    rates = {
        number: metrics["rl"]["win_rate"].value
        for number, run in enumerate(context.earlier_rounds, start=1)
        if "win_rate" in (metrics := read_metrics(run)).get("rl", {})
    }
    return max(rates, key=lambda number: (rates[number], number), default=context.config.round - 1)


def _new_ones_first(context: Context, prompts: list[Messages]) -> list[Messages]:
    """Prompts that no earlier round has sampled for, then the others."""
    files = [run.stage_dir("sample") / COMPLETIONS_FILE for run in context.earlier_rounds]
    known = {
        prompt_key(row.prompt)
        for file in files
        if file.exists()
        for row in stored_completions(file)
    }
    return sorted(prompts, key=lambda prompt: prompt_key(prompt) in known)


def _seed(context: Context) -> int:
    """Other draws in every round, also of the same model for the same prompts."""
    return context.config.seed + 1_000_003 * (context.config.round - 1)


def load_policy(context: Context, name: str) -> LanguageModel:
    """A frozen model of the run (`base`, `sft`, `rl_sft`, `rl`), of an earlier round (`round1`), of
    a directory or the hub."""
    path: str | None = name
    if name == "base":
        path = None
    elif name in ("sft", "rl_sft", "rl"):
        path = str(context.output_of(name, "model"))
    elif name in (rounds := _policies_of_rounds(context)):
        path = rounds[name]
    model: LanguageModel = context.build("loader").language_model(path)
    return model


def _policies_of_rounds(context: Context) -> dict[str, str]:
    return {
        f"round{number}": str(run.stage_dir("rl") / "model")
        for number, run in enumerate(context.earlier_rounds, start=1)
    }


def _empty_row(prompt: Messages) -> dict[str, Any]:
    columns = ("completions", "finished", "sources", "ids", "logprobs")
    return {"prompt": prompt, **{column: [] for column in columns}}


def _add(row: dict[str, Any], name: str, text: TextFormat, response: Response) -> None:
    row["completions"].append(text.decode(response.ids))
    row["finished"].append(response.ended)
    row["sources"].append(name)
    row["ids"].append(response.ids)
    row["logprobs"].append([round(logprob, 5) for logprob in response.logprobs])
