"""evaluator=best_of_n: the other way to optimize against a reward model (Gao et al. 2022)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.figures.overoptimization import best_of_n_kl, best_of_n_mean
from rlhfkit.intervals import interval, item_rows
from rlhfkit.online.scoring import ask
from rlhfkit.types import Evaluation, Metric, PolicySamples
from rlhfkit_plugins.evaluators import BestOfNConfig
from rlhfkit_plugins.evaluators.statistics import chosen_rewards, reward_columns


class BestOfN:
    """The best of N answers that the SFT model gave to each prompt: nothing is sampled again. The
    missing-EOS penalty is no part of the weighted sum."""

    def __init__(self, config: BestOfNConfig, context: Context) -> None:
        self.check_run(config, context)
        self._config, self._context = config, context
        self._most = context.config.stage.evaluate.num_completions

    @staticmethod
    def check_run(config: BestOfNConfig, context: Context) -> None:
        """Raise `UserError` for a run with one answer a prompt."""
        most = context.config.stage.evaluate.num_completions
        if most < 2:
            raise UserError(
                f"evaluator=best_of_n: stage.evaluate.num_completions={most} leaves nothing "
                f"to choose from; 2 or more"
            )

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """By `best-of-<n>`, for powers of two: every reward, and the KL in nats, which needs no
        measuring."""
        sft = samples["sft"]
        scores = self._scores(sft)
        entries = self._context.config.reward
        proxy = np.sum([entries[name].weight * row for name, row in scores.items()], axis=0)
        prompts = _indices_by_prompt(sft)
        powers = [2**power for power in range(1, self._most.bit_length())]
        metrics = {
            f"best-of-{n}": _exactly(best_of_n_kl(n), len(prompts))
            | {
                f"reward/{name}": self._metric(
                    [
                        best_of_n_mean(proxy[rows].tolist(), values[rows].tolist(), n)
                        for rows in prompts
                    ]
                )
                for name, values in scores.items()
            }
            for n in powers
        }
        return Evaluation(metrics, item_rows(sft, proxy=proxy.tolist()))

    def _scores(self, samples: PolicySamples) -> dict[str, np.ndarray]:
        columns = reward_columns(self._context, samples)
        return {
            name: np.array(ask(name, reward, samples.prompts, samples.completions, columns))
            for name, reward in chosen_rewards(self._context).items()
        }

    def _metric(self, values: Sequence[float]) -> Metric:
        config, seed = self._config, self._context.config.seed
        return interval(values, config.confidence_level, config.resamples, seed)


def _exactly(kl: float, count: int) -> dict[str, Metric]:
    return {"kl": Metric(kl, kl, kl, count)}


def _indices_by_prompt(samples: PolicySamples) -> list[list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, prompt in enumerate(samples.prompts):
        found[repr(prompt)].append(index)
    return list(found.values())
