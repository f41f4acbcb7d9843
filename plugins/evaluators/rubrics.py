"""evaluator=rubrics: whether answers are what the prompts' rubrics ask for, and are right.

What the paper asks labelers as "satisfies the constraint in the instruction" (section 3.6), checked
by program, and closed questions with known answers. Read greedily and at the run's temperature,
and compared with the SFT and the base model prompt by prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlhfkit.context import Context
from rlhfkit.data.prompt_columns import PromptColumns
from rlhfkit.data.text_format import load_text_format
from rlhfkit.distributed import processes
from rlhfkit.intervals import interval
from rlhfkit.models.sampling import sampler_for
from rlhfkit.stages.sample import load_policy
from rlhfkit.types import Evaluation, Messages, Metric, PolicySamples, Response
from rlhfkit_plugins.evaluators import RubricsConfig
from rlhfkit_plugins.rubrics import Rubric, occurs

GREEDY = 1e-6
"""A temperature at which the likeliest token is drawn: samplers take no 0."""

COMPARED_WITH = ("sft", "base")

MEASURES = ("rubric", "rubric_greedy", "closed_questions", "closed_questions_greedy")
"""What the alignment tax shows and gates may limit."""

Row = dict[str, Any]
Means = dict[str, dict[str, float]]
"""Of one policy, by metric and prompt."""


class Rubrics:
    """For each policy of the run `rubric`, the share of answers that keep all of their rubric,
    `rubric/<part>`, and `closed_questions`, the share that contains an accepted answer; read
    greedily as `<metric>_greedy`. `<metric>_minus_sft` and `_minus_base` are paired by prompt."""

    def __init__(self, config: RubricsConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._columns = PromptColumns(context)

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """Its independent items are the prompts; there is nothing where the data has neither
        rubrics nor accepted answers."""
        rows: list[Row] = []
        means: dict[str, Means] = {}
        for policy, own in samples.items():
            if own.reference_kl is not None:  # another tokenizer's policy is not asked again
                found = self._rows(policy, own) + self._rows(policy, self._greedy(own), "_greedy")
                rows, means[policy] = rows + found, _means(found)
        measured = {name for own in means.values() for name in own}
        metrics = {policy: self._metrics(policy, means) for policy in means}
        return Evaluation(metrics, rows, {name: "higher" for name in MEASURES if name in measured})

    def _rows(self, policy: str, samples: PolicySamples, suffix: str = "") -> list[Row]:
        """A row an answer, with its numbers under the metrics' names."""
        rubrics = self._columns.of("rubric", samples.prompts)
        accepted = self._columns.of("accepted", samples.prompts)
        answers = zip(samples.prompts, samples.completions, samples.responses, strict=True)
        return [
            {"policy": policy, "item": prompt[-1]["content"], "completion": text}
            | {
                f"{name}{suffix}": number
                for name, number in _numbers(Rubric.of(rubric), right, text, response.ended).items()
            }
            for (prompt, text, response), rubric, right in zip(
                answers, rubrics, accepted, strict=True
            )
        ]

    def _greedy(self, samples: PolicySamples) -> PolicySamples:
        """One greedy answer to each prompt."""
        prompts = list({repr(prompt): prompt for prompt in samples.prompts}.values())
        text = load_text_format(self._context)
        responses = greedy_responses(self._context, samples.policy, prompts)
        completions = [text.decode(response.ids) for response in responses]
        return replace(samples, prompts=prompts, completions=completions, responses=responses)

    def _metrics(self, policy: str, means: Mapping[str, Means]) -> dict[str, Metric]:
        own = means[policy]
        found = {name: self._metric([*items.values()]) for name, items in own.items()}
        for other in COMPARED_WITH:
            if other in means and other != policy and policy != "base":
                for name in (name for name in own if "/" not in name):
                    gaps = [own[name][item] - means[other][name][item] for item in own[name]]
                    found[f"{name}_minus_{other}"] = self._metric(gaps)
        return found

    def _metric(self, values: Sequence[float]) -> Metric:
        config = self._config
        return interval(
            values, config.confidence_level, config.resamples, self._context.config.seed
        )


def greedy_responses(context: Context, policy: str, prompts: Sequence[Messages]) -> list[Response]:
    """The likeliest tokens of one of the run's policies after each prompt."""
    untrained = policy == "sft" and context.model_of("sft") is None
    sampling = replace(context.config.sampler, temperature=GREEDY)
    greedy = replace(context, config=replace(context.config, sampler=sampling))
    model = load_policy(context, "base" if untrained else policy)
    sampler, text = sampler_for(greedy, model), load_text_format(context)
    generator = processes.generator(context.config.seed, context.device)
    ids = [text.prompt_ids(prompt) for prompt in prompts]
    return processes.map_sharded(
        lambda rows: sampler.sample(model, rows, text.ends, generator), ids
    )


def _numbers(
    rubric: Rubric | None, accepted: Sequence[str] | None, text: str, ended: bool
) -> dict[str, float]:
    """By metric: 1 for what is satisfied, 0 for what is not; nothing of what the data lacks."""
    found: dict[str, float] = {}
    if rubric is not None:
        parts = {**rubric.kept(text), "ends": ended}
        found = {"rubric": float(all(parts.values()))}
        found |= {f"rubric/{part}": float(kept) for part, kept in parts.items()}
    if accepted:
        found["closed_questions"] = float(any(occurs(answer, text) for answer in accepted))
    return found


def _means(rows: Sequence[Row]) -> Means:
    """Each prompt's mean over its answers, by metric."""
    gathered: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name in row.keys() - {"policy", "item", "completion"}:
            gathered.setdefault(name, {}).setdefault(row["item"], []).append(row[name])
    return {
        name: {item: sum(values) / len(values) for item, values in items.items()}
        for name, items in sorted(gathered.items())
    }
