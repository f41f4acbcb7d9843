"""evaluator=win_rate: how often the labelers prefer a policy to the SFT model."""

from collections.abc import Mapping

from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.intervals import by_prompt, interval, item_rows
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.protocols import Labeler
from rlhfkit.types import Evaluation, Judgement, Metric, PolicySamples
from rlhfkit_plugins.evaluators import WinRateConfig


class WinRate:
    """Asks the run's labelers, never the reward model that the policy was trained on."""

    def __init__(self, config: WinRateConfig, context: Context) -> None:
        self._config, self._seed = config, context.config.seed
        self._labeler: Labeler = context.build("labeler")

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """`win_rate` of every policy but `sft`; its independent items are the prompts.

        Nothing when the rankings were imported: nobody is there to judge new completions.
        """
        if hasattr(self._labeler, "rankings"):
            console.print(
                "  no win rate: imported rankings cannot judge new completions; for one, add "
                "labeler=simulated (or reward_model) stages=evaluate,report force_from=evaluate",
                markup=False,
            )
            return Evaluation({})
        metrics, rows = {}, []
        for policy, own in samples.items():
            if policy != "sft":
                shares = self.preferences(own, samples["sft"])
                metrics[policy] = {"win_rate": self._metric(by_prompt(own, shares))}
                rows += item_rows(own, win_rate=shares, sft=samples["sft"].completions)
        return Evaluation(metrics, rows)

    def preferences(self, policy: PolicySamples, sft: PolicySamples) -> list[float]:
        """Per answer the share of labelers that prefer the policy's completion, ties as one half.

        The same completion twice is a tie that nobody needs to be asked about.
        """
        pairs = [list(pair) for pair in zip(policy.completions, sft.completions, strict=True)]
        asked = [index for index, (own, other) in enumerate(pairs) if own != other]
        shares = [0.5] * len(pairs)
        if asked:
            judgements = judgements_of(
                self._labeler,
                [policy.prompts[index] for index in asked],
                [pairs[index] for index in asked],
            )
            for index, judged in zip(asked, judgements, strict=True):
                shares[index] = sum(map(_preference, judged)) / len(judged)
        return shares

    def _metric(self, shares: list[float]) -> Metric:
        config = self._config
        return interval(shares, config.confidence_level, config.resamples, self._seed)


def _preference(judgement: Judgement) -> float:
    """1 for the first completion, 0 for the second, 0.5 for a tie."""
    own, other = judgement.ranks
    return 0.5 if own == other else float(own < other)
