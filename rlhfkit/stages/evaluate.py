"""Stage evaluate: the base model, the SFT model, the policy and opponents on held-out prompts.

With `stage.evaluate.few_shot` the base model answers once more, as `prompted`.

1. choose prompts  2. let every policy answer them  3. measure each one's KL to the SFT model
4. let the evaluators judge  5. write samples and numbers

Writes: samples.jsonl, metrics.json (every number with its interval), rows/ (what the numbers are
taken over, a file an evaluator), notes.json (what was not measured, and why), tax.json (paired
differences from the base and the SFT model), metrics.jsonl.
Source: InstructGPT, sections 3.6 and 4.1 (win rate against the SFT model).
"""

import random
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path

from rlhfkit.config.stages import PROMPTED
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.text_format import TOKENIZER_FILE, TextFormat, load_text_format
from rlhfkit.errors import NotRun
from rlhfkit.figures.win_matrix import win_matrix, win_matrix_tables
from rlhfkit.models.batch_size import AdaptiveBatchSize, micro_batch
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.plugin_calls import evaluation_of
from rlhfkit.reporting import Metrics, Reporter, in_order
from rlhfkit.stages.alignment_tax import alignment_tax, tax_json, tax_table
from rlhfkit.stages.completions import CompletionSampler
from rlhfkit.stages.metrics_table import metrics_tables
from rlhfkit.stages.sample import load_policy
from rlhfkit.storage.catalogue import EVALUATION_FILE, NOTES_FILE, ROWS, SAMPLES_FILE, TAX_FILE
from rlhfkit.storage.run_dir import write_json, write_jsonl
from rlhfkit.types import Evaluation, Messages, Metric, PolicySamples

_OF_THIS_RUN = ("base", "rl")
"""Policies that read what the SFT model reads, so that a KL exists; opponents may have another
tokenizer, and `prompted` reads more."""


def _at_temperature(context: Context) -> Context:
    """A context whose sampler has this stage's temperature."""
    temperature = context.config.stage.evaluate.temperature
    if temperature is None:
        return context
    sampler = replace(context.config.sampler, temperature=temperature)
    return replace(context, config=replace(context.config, sampler=sampler))


def run(context: Context) -> None:
    """Sample, judge and write."""
    context = _at_temperature(context)
    text = load_text_format(context)
    prompts = sources.held_out_prompts(context, text)
    random.Random(context.config.seed).shuffle(prompts)
    config = context.config.stage.evaluate
    prompts = [
        item for item in prompts[: config.num_prompts] for _ in range(config.num_completions)
    ]

    with Reporter(context) as reporter:
        samples = _sample_all(context, text, prompts, reporter)
        found = _judge(context, samples)
        metrics = _by_policy(samples, found)
        numbers = {
            f"{who}/{what}": metric.value
            for who, found in metrics.items()
            for what, metric in found.items()
        }
        reporter.log(len(prompts), numbers)
    tax = alignment_tax(found, Metric.level, context.config.seed)
    _write(context, samples, metrics, found)
    write_json(context.stage_dir / TAX_FILE, tax_json(tax))
    for table in metrics_tables(metrics):
        console.print(table)
    _print_win_matrix(found)
    if tax:
        console.print(tax_table(tax))


def _judge(context: Context, samples: dict[str, PolicySamples]) -> dict[str, Evaluation]:
    """What each evaluator finds; its rows are written at once."""
    judged = {}
    for evaluator, config in context.config.evaluator.items():
        try:
            found = evaluation_of(evaluator, context.make("evaluator", config), samples)
        except NotRun as reason:
            found = Evaluation({}, notes=[f"not run: {reason}"])
        for note in found.notes:
            console.print(f"  {evaluator}: {note}", style="yellow", markup=False, soft_wrap=True)
        if found.rows:
            (context.stage_dir / ROWS).mkdir(exist_ok=True)
            write_jsonl(context.stage_dir / ROWS / f"{evaluator}.jsonl", found.rows)
        judged[evaluator] = found
    return judged


def _print_win_matrix(judged: dict[str, Evaluation]) -> None:
    """Where more than two policies were compared: of two the metrics say it."""
    matrix = win_matrix(judged["win_rate"].rows) if "win_rate" in judged else {}
    for table in win_matrix_tables(matrix) if len(matrix) > 2 else []:
        console.print(table)


def _by_policy(samples: dict[str, PolicySamples], judged: dict[str, Evaluation]) -> Metrics:
    """The numbers of all evaluators, by policy and name."""
    metrics: Metrics = {name: {} for name in samples}
    for found in judged.values():
        for policy, numbers in found.metrics.items():
            metrics[policy] = metrics.get(policy, {}) | {**numbers}
    return in_order(metrics)


def _sample_all(
    context: Context, text: TextFormat, prompts: list[Messages], reporter: Reporter
) -> dict[str, PolicySamples]:
    """Every policy's answers, the SFT model's first. One model is in memory at a time: the SFT
    model comes last, when it can measure all others."""
    answers = CompletionSampler(context, reporter)
    others: dict[str, PolicySamples] = {}
    for name, path in _others(context).items():
        load = partial(load_policy, context, path)
        own = own_format(context, text, path)
        others[name] = _answer(context, answers, own, name, load, prompts)
    sft = load_policy(context, "sft" if context.model_of("sft") else "base")
    answered = _answer(context, answers, text, "sft", lambda: sft, prompts)
    samples = {"sft": replace(answered, reference_kl=[0.0] * len(prompts)), **others}
    comparable = [drawn for name, drawn in others.items() if name in _OF_THIS_RUN]
    return samples | _with_kl(context, sft, comparable)


def _others(context: Context) -> dict[str, str]:
    """Which policies are compared with the SFT model: what to load, by name."""
    config = context.config.stage.evaluate
    named = ["base"] if context.model_of("sft") else []
    named += ["rl"] if context.model_of("rl") else []
    prompted = {PROMPTED: "base"} if config.few_shot else {}
    for name in [name for name, path in config.opponents.items() if path is None]:
        console.print(
            f"  no opponent '{name}': stage.evaluate.opponents.{name} names no model", markup=False
        )
    opponents = {name: path for name, path in config.opponents.items() if path is not None}
    return {name: name for name in named} | prompted | opponents


def own_format(context: Context, text: TextFormat, path: str) -> TextFormat:
    """An opponent reads prompts with its own tokenizer and template, or the run's when none lies
    beside it, as beside another run's policy."""
    folder = Path(path)
    borrows = folder.is_dir() and not (folder / TOKENIZER_FILE).exists()
    if borrows or path in ("sft", *_OF_THIS_RUN):
        return text
    return load_text_format(context, path)


def _answer(
    context: Context,
    answers: CompletionSampler,
    text: TextFormat,
    name: str,
    load: Callable[[], LanguageModel],
    prompts: list[Messages],
) -> PolicySamples:
    """A policy's answers, not yet compared with the SFT model."""
    before = context.config.stage.evaluate.few_shot if name == PROMPTED else []
    prompt_ids = [text.prompt_ids([*before, *prompt]) for prompt in prompts]
    responses = answers.of(name, load, prompt_ids, text.ends)
    completions = [text.decode(response.ids) for response in responses]
    return PolicySamples(name, prompts, completions, responses, prompt_ids, reference_kl=None)


def _with_kl(
    context: Context, sft: LanguageModel, policies: list[PolicySamples]
) -> dict[str, PolicySamples]:
    """Policies with the sum of log pi - log pi_sft over each response's tokens, in nats; all at
    once, for their prompts are the same."""
    responses = [response for drawn in policies for response in drawn.responses]
    rows = teacher_forced_logprobs(
        sft,
        [ids for drawn in policies for ids in drawn.prompt_ids],
        [response.ids for response in responses],
        context.build("sampler").temperature,
        AdaptiveBatchSize("reference log-probabilities", micro_batch(context.config.stage.rl)),
    )
    kl = iter(
        sum(response.logprobs) - float(row.sum())
        for response, row in zip(responses, rows, strict=True)
    )
    return {
        drawn.policy: replace(drawn, reference_kl=[*islice(kl, len(drawn.responses))])
        for drawn in policies
    }


def _write(
    context: Context,
    samples: dict[str, PolicySamples],
    metrics: Metrics,
    judged: dict[str, Evaluation],
) -> None:
    notes = {evaluator: list(found.notes) for evaluator, found in judged.items() if found.notes}
    if notes:
        write_json(context.stage_dir / NOTES_FILE, notes)
    rows = [
        {"policy": name, "prompt": prompt, "completion": completion, "finished": response.ended}
        for name, drawn in samples.items()
        for prompt, completion, response in zip(
            drawn.prompts, drawn.completions, drawn.responses, strict=True
        )
    ]
    write_jsonl(context.stage_dir / SAMPLES_FILE, rows)
    write_json(
        context.stage_dir / EVALUATION_FILE,
        {
            name: {key: asdict(metric) for key, metric in found.items()}
            for name, found in metrics.items()
        },
    )
