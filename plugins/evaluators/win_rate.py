"""evaluator=win_rate: how often the labelers prefer a policy to the SFT model, or to another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rlhfkit.config.stages import PROMPTED
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.data.prompt_columns import PromptColumns
from rlhfkit.errors import UserError, nearest
from rlhfkit.intervals import interval, item_rows
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.protocols import Labeler
from rlhfkit.types import Evaluation, Judgement, Metric, PolicySamples
from rlhfkit_plugins.evaluators import WinRateConfig
from rlhfkit_plugins.evaluators.length_control import length_controlled


@dataclass(frozen=True)
class _Pairs:
    """Each answer of a policy beside the other's to the same prompt; equal lengths."""

    prompts: list[str]

    shares: list[float]
    """How many of the labelers prefer the policy's, a tie as one half."""

    ties: list[float]
    """How many of the labelers call it a tie."""

    both_ended: list[bool]

    gaps: list[int]
    """How many characters more the policy's answer has."""


class WinRate:
    """Asks the run's labelers, never the reward model that the policy was trained on."""

    def __init__(self, config: WinRateConfig, context: Context) -> None:
        self._config, self._seed = config, context.config.seed
        self._labeler: Labeler = context.build("labeler")
        self._context = context

    @staticmethod
    def check_run(config: WinRateConfig, context: Context) -> None:
        """Raise `UserError` for a policy to compare with that the run will not have."""
        stage = context.config.stage.evaluate
        known = ["sft", "base", "rl", *stage.opponents, *([PROMPTED] if stage.few_shot else [])]
        for name in config.against:
            if name not in known:
                raise UserError(
                    f"evaluator.win_rate.against: no policy '{name}'; {nearest(name, known)}"
                )

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """Every policy against each of `against`; the independent items are the prompts.

        Nothing when the rankings were imported: nobody is there to judge new completions.
        """
        if hasattr(self._labeler, "rankings"):
            console.print(
                "  no win rate: imported rankings cannot judge new completions; for one, add "
                "labeler=simulated (or reward_model) stages=evaluate,report force_from=evaluate",
                markup=False,
            )
            return Evaluation({})
        metrics: dict[str, dict[str, Metric]] = {}
        rows, against = [], self._config.against
        categories = self._categories(samples["sft"])
        for opponent in (name for name in against if name in samples):
            for policy, own in samples.items():
                if policy == opponent:
                    continue
                pairs = self._pairs(own, samples[opponent])
                found = self._metrics(_name(opponent), pairs, categories)
                metrics.setdefault(policy, {}).update(found)
                rows += _rows(own, samples[opponent], pairs.shares, categories, **_columns(pairs))
        if self._config.all_pairs:
            for other, own in combinations(samples.values(), 2):
                if not {own.policy, other.policy} & {*against}:
                    rows += _rows(own, other, self.preferences(own, other), categories)
        notes = [f"no policy '{name}' to compare with" for name in against if name not in samples]
        return Evaluation(metrics, rows, notes=notes)

    def _categories(self, samples: PolicySamples) -> list[str]:
        """Of the prompts; empty where the data has none."""
        found = PromptColumns(self._context).of("category", samples.prompts)
        return [str(category or "") for category in found]

    def _metrics(self, name: str, pairs: _Pairs, categories: list[str]) -> dict[str, Metric]:
        """Parts of the prompts that are empty have no number."""
        config = self._config
        found = {
            name: self._mean(pairs.prompts, pairs.shares),
            name.replace("win_rate", "tie_rate"): self._mean(pairs.prompts, pairs.ties),
            f"{name}_length_controlled": length_controlled(
                pairs.prompts,
                pairs.shares,
                pairs.gaps,
                config.confidence_level,
                config.resamples,
                self._seed,
            ),
        }
        parts = {f"{name}_both_ended": pairs.both_ended}
        for category in sorted(set(categories) - {""}):
            parts[f"{name}/{category}"] = [own == category for own in categories]
        for part, kept in parts.items():
            if any(kept):
                found[part] = self._mean(pairs.prompts, pairs.shares, kept)
        return found

    def _pairs(self, policy: PolicySamples, other: PolicySamples) -> _Pairs:
        votes = self._votes(policy, other)
        responses = zip(policy.responses, other.responses, strict=True)
        texts = zip(policy.completions, other.completions, strict=True)
        return _Pairs(
            prompts=[repr(prompt) for prompt in policy.prompts],
            shares=[sum(given) / len(given) for given in votes],
            ties=[given.count(0.5) / len(given) for given in votes],
            both_ended=[one.ended and two.ended for one, two in responses],
            gaps=[len(one) - len(two) for one, two in texts],
        )

    def preferences(self, policy: PolicySamples, other: PolicySamples) -> list[float]:
        """Per answer the share of labelers that prefer the policy's, ties as one half."""
        return self._pairs(policy, other).shares

    def _votes(self, policy: PolicySamples, other: PolicySamples) -> list[list[float]]:
        """Per answer each labeler's preference. The same completion twice is a tie that nobody
        needs to be asked about."""
        pairs = [list(pair) for pair in zip(policy.completions, other.completions, strict=True)]
        asked = [index for index, (one, two) in enumerate(pairs) if one != two]
        votes = [[0.5] for _ in pairs]
        if asked:
            judgements = judgements_of(
                self._labeler,
                [policy.prompts[index] for index in asked],
                [pairs[index] for index in asked],
            )
            for index, judged in zip(asked, judgements, strict=True):
                votes[index] = [*map(_preference, judged)]
        return votes

    def _mean(
        self, prompts: Sequence[str], values: Sequence[float], kept: Sequence[bool] | None = None
    ) -> Metric:
        """Over prompts, of all answers or of those that are kept."""
        by_prompt: dict[str, list[float]] = {}
        for prompt, value, keep in zip(prompts, values, kept or [True] * len(values), strict=True):
            if keep:
                by_prompt.setdefault(prompt, []).append(value)
        means = [sum(group) / len(group) for group in by_prompt.values()]
        config = self._config
        return interval(means, config.confidence_level, config.resamples, self._seed)


def _name(opponent: str) -> str:
    return "win_rate" if opponent == "sft" else f"win_rate_vs_{opponent}"


def _rows(
    own: PolicySamples,
    other: PolicySamples,
    shares: Sequence[float],
    categories: Sequence[str],
    **more: Sequence[Any],
) -> list[dict[str, Any]]:
    """An answer a row, with the other policy's under its name."""
    columns: dict[str, Sequence[Any]] = {
        _name(other.policy): shares,
        other.policy: other.completions,
    }
    return item_rows(own, **columns, **more, category=categories)


def _columns(pairs: _Pairs) -> dict[str, Sequence[Any]]:
    return {"tie": pairs.ties, "both_ended": pairs.both_ended, "characters_more": pairs.gaps}


def _preference(judgement: Judgement) -> float:
    """1 for the first completion, 0 for the second, 0.5 for a tie."""
    own, other = judgement.ranks
    return 0.5 if own == other else float(own < other)
