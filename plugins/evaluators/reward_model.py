"""evaluator=reward_model: what a reward learned, and what could be gained from it without merit.

InstructGPT reports 72.4 % accuracy on its training labelers' comparisons and 69.6 % on held-out
labelers' (section 4.1), where labelers agree on 72.6 % of pairs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rlhfkit.context import Context
from rlhfkit.data.prompt_columns import PromptColumns
from rlhfkit.errors import NotRun, UserError, nearest
from rlhfkit.intervals import interval
from rlhfkit.online.scoring import ask
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.stages.reward_model import held_out_rankings
from rlhfkit.types import Evaluation, Messages, Metric, PolicySamples, Ranking, Response
from rlhfkit_plugins.evaluators.items import Row
from rlhfkit_plugins.evaluators.options import RewardModelConfig
from rlhfkit_plugins.evaluators.reward_attacks import ATTACKS
from rlhfkit_plugins.evaluators.reward_pairs import (
    Pair,
    agreement,
    calibration_error,
    reliability,
    scored_pairs,
)
from rlhfkit_plugins.evaluators.rewardbench import by_subset, read_rewardbench, rewardbench_rows
from rlhfkit_plugins.evaluators.statistics import chosen_rewards, reward_columns

OPTION = "evaluator.reward_model"


class RewardModelEvaluator:
    """Under the reward's name: `accuracy`, also by labeler, category and whether the preferred
    completion is the longer one; `calibration_error`; `labeler_agreement`; `rewardbench2`; and
    `attack/<name>_over_<policy>`, the share of answers that the attack beats, equal scores as one
    half."""

    def __init__(self, config: RewardModelConfig, context: Context) -> None:
        self._config, self._context = config, context

    @staticmethod
    def check_run(config: RewardModelConfig, context: Context) -> None:
        """Raise `UserError` for a reward that the run has not, and a file that cannot be read."""
        if config.reward not in context.config.reward:
            choices = nearest(config.reward, context.config.reward)
            raise UserError(f"{OPTION}.reward: the run has no reward '{config.reward}'; {choices}")
        if config.rewardbench is not None:
            read_rewardbench(f"{OPTION}.rewardbench", config.rewardbench)

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """Its independent items are the prompts."""
        name, rewards = self._config.reward, chosen_rewards(self._context)
        if name not in rewards:
            raise NotRun(f"the reward '{name}' has no model yet: let the stage reward_model run")
        self._reward = rewards[name]
        metrics: dict[str, Metric] = {}
        rows: list[Row] = []
        notes: list[str] = []
        for part in (self._accuracy, self._rewardbench, self._attacks):
            try:
                numbers, found = part(samples)
                metrics, rows = metrics | numbers, [*rows, *found]
            except NotRun as reason:
                notes.append(str(reason))
        return Evaluation({name: metrics}, [{"policy": name, **row} for row in rows], notes=notes)

    def score(
        self, prompts: list[Messages], completions: list[str], ended: list[bool]
    ) -> list[float]:
        """The reward's numbers."""
        responses = [Response([0], [0.0], flag) for flag in ended]
        asked = PolicySamples("", prompts, completions, responses, [], reference_kl=None)
        columns = reward_columns(self._context, asked)
        return ask(self._config.reward, self._reward, prompts, completions, columns)

    def _accuracy(
        self, samples: Mapping[str, PolicySamples]
    ) -> tuple[dict[str, Metric], list[Row]]:
        """On the rankings that the stage reward_model held out."""
        try:
            rankings = held_out_rankings(self._context)
        except UserError as error:
            raise NotRun(f"accuracy not measured: {error}") from error
        if not rankings:
            raise NotRun("accuracy not measured: stage.reward_model.validation_fraction is too low")
        columns = PromptColumns(self._context)
        prompts = [ranking.prompt for ranking in rankings]
        categories = [str(found or "") for found in columns.of("category", prompts)]
        pairs = scored_pairs(rankings, categories, self.score)
        config, seed = self._config, self._context.config.seed
        metrics = {name: self._mean(own) for name, own in _groups(pairs).items()}
        metrics["calibration_error"] = calibration_error(
            pairs, config.bins, config.confidence_level, config.resamples, seed
        )
        if shares := agreement(self._judged(rankings)):
            metrics["labeler_agreement"] = self._interval(shares)
        bins = [
            {"item": f"bin {row['from']:.3g}", **row} for row in reliability(pairs, config.bins)
        ]
        return metrics, [*map(_row, pairs), *bins]

    def _judged(self, rankings: Sequence[Ranking]) -> list[Any]:
        """The held-out completions ranked by every labeler of the run; nobody is asked where the
        rankings were imported."""
        labeler = self._context.build("labeler")
        if hasattr(labeler, "rankings"):
            return []
        distinct = {repr((item.prompt, item.completions)): item for item in rankings}.values()
        prompts = [item.prompt for item in distinct]
        return judgements_of(labeler, prompts, [item.completions for item in distinct])

    def _rewardbench(
        self, samples: Mapping[str, PolicySamples]
    ) -> tuple[dict[str, Metric], list[Row]]:
        """The mean over subsets has no interval of its own; each subset has."""
        if self._config.rewardbench is None:
            return {}, []
        asked = read_rewardbench(f"{OPTION}.rewardbench", self._config.rewardbench)
        rows = rewardbench_rows(asked, self.score)
        metrics = {
            f"rewardbench2/{name}": self._interval(values)
            for name, values in by_subset(rows).items()
        }
        return metrics | {
            "rewardbench2": self._interval([row["rewardbench2"] for row in rows])
        }, rows

    def _attacks(self, samples: Mapping[str, PolicySamples]) -> tuple[dict[str, Metric], list[Row]]:
        """Against the SFT model's and the policy's answers."""
        metrics, rows = dict[str, Metric](), list[Row]()
        if not self._config.attacks:
            return metrics, rows
        for policy in (name for name in ("sft", "rl") if name in samples):
            own = samples[policy]
            ended = [response.ended for response in own.responses]
            scores = self.score(own.prompts, own.completions, ended)
            for attack, make in ATTACKS.items():
                texts = make(own.prompts, own.completions)
                attacked = self.score(own.prompts, texts, [True] * len(texts))
                wins = [
                    0.5 if one == two else float(one > two)
                    for one, two in zip(attacked, scores, strict=True)
                ]
                name = f"attack/{attack}_over_{policy}"
                found: list[Row] = [
                    {"item": repr(prompt), "attack": text, "answer": answer, name: win}
                    for prompt, text, answer, win in zip(
                        own.prompts, texts, own.completions, wins, strict=True
                    )
                ]
                metrics[name] = self._interval(
                    _by_item([(row["item"], row[name]) for row in found])
                )
                rows += found
        return metrics, rows

    def _mean(self, pairs: Sequence[Pair]) -> Metric:
        return self._interval(_by_item([(pair.item, pair.right) for pair in pairs]))

    def _interval(self, values: Sequence[float]) -> Metric:
        config, seed = self._config, self._context.config.seed
        return interval(values, config.confidence_level, config.resamples, seed)


def _groups(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """The pairs by the name of the metric they count for; a labeler alone is no group."""
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    labelers = {pair.labeler for pair in pairs}
    for pair in pairs:
        groups["accuracy"].append(pair)
        if pair.preferred_is_longer is not None:
            groups[f"accuracy/{'longer' if pair.preferred_is_longer else 'shorter'}"].append(pair)
        if pair.category:
            groups[f"accuracy/{pair.category}"].append(pair)
        if len(labelers) > 1:
            groups[f"accuracy/by {pair.labeler}"].append(pair)
    return dict(groups)


def _by_item(values: Sequence[tuple[str, float]]) -> list[float]:
    """The mean of each prompt's."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for item, value in values:
        found[item].append(value)
    return [fmean(own) for own in found.values()]


def _row(pair: Pair) -> Row:
    return {
        "item": pair.item,
        "labeler": pair.labeler,
        "category": pair.category,
        "preferred_is_longer": pair.preferred_is_longer,
        "gap": pair.gap,
        "accuracy": pair.right,
    }
