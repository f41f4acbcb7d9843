"""evaluator=policy_statistics: what the win rate does not tell."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from rlhfkit.context import Context
from rlhfkit.data.text_format import load_text_format
from rlhfkit.intervals import by_prompt, interval, item_rows
from rlhfkit.online.scoring import ask
from rlhfkit.protocols import RewardFunction
from rlhfkit.types import Evaluation, Metric, PolicySamples
from rlhfkit_plugins.evaluators import PolicyStatisticsConfig


class PolicyStatistics:
    """Per policy: `kl` in nats, `length` in its own tokens, `eos_share`, `reward/<name>`."""

    def __init__(self, config: PolicyStatisticsConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._rewards = chosen_rewards(context)

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """Means over the prompts; `kl` only where it is defined."""
        scores = self._scores(samples)
        metrics, rows = {}, []
        for policy, own in samples.items():
            values = _values(own) | scores[policy]
            metrics[policy] = {
                name: self._metric(by_prompt(own, numbers)) for name, numbers in values.items()
            }
            rows += item_rows(own, **values)
        return Evaluation(metrics, rows)

    def _scores(
        self, samples: Mapping[str, PolicySamples]
    ) -> dict[str, dict[str, Sequence[float]]]:
        """By policy and reward function, asked once: the policies' prompts are the same."""
        columns = [reward_columns(self._context, own) for own in samples.values()]
        joined = {name: [row for own in columns for row in own[name]] for name in columns[0]}
        prompts = [prompt for own in samples.values() for prompt in own.prompts]
        completions = [text for own in samples.values() for text in own.completions]
        found: dict[str, dict[str, Sequence[float]]] = {policy: {} for policy in samples}
        for name, reward in self._rewards.items():
            scores = iter(ask(name, reward, prompts, completions, joined))
            for policy, own in samples.items():
                found[policy][f"reward/{name}"] = [*islice(scores, len(own.completions))]
        return found

    def _metric(self, values: Sequence[float]) -> Metric:
        config = self._config
        return interval(
            values, config.confidence_level, config.resamples, self._context.config.seed
        )


def reward_columns(context: Context, samples: PolicySamples) -> dict[str, list[Any]]:
    """What reward functions get beside texts, in the run's tokens whatever the policy's."""
    finished = [response.ended for response in samples.responses]
    prompt_ids, completion_ids = samples.prompt_ids, [r.ids for r in samples.responses]
    if samples.reference_kl is None:
        text = load_text_format(context)
        prompt_ids = [text.prompt_ids(prompt) for prompt in samples.prompts]
        pairs = zip(samples.completions, finished, strict=True)
        completion_ids = [text.completion_ids(*pair) for pair in pairs]
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "finished": finished}


def _values(samples: PolicySamples) -> dict[str, Sequence[float]]:
    values: dict[str, Sequence[float]] = {
        "length": [len(response.ids) for response in samples.responses],
        "eos_share": [float(response.ended) for response in samples.responses],
    }
    if samples.reference_kl is not None:
        values["kl"] = samples.reference_kl
    return values


def chosen_rewards(context: Context) -> dict[str, RewardFunction]:
    """The chosen reward functions; the run's own reward model only when the run has one."""
    trained = context.model_of("reward_model") is not None
    chosen = {
        name: config
        for name, config in context.config.reward.items()
        if trained or config.name != "reward_model" or config.path is not None
    }
    return replace(context, config=replace(context.config, reward=chosen)).build_all("reward")
