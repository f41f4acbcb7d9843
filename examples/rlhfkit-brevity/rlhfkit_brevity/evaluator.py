"""evaluator=words: numbers with intervals, and a row for every answer."""

from collections.abc import Mapping, Sequence

from rlhfkit.context import Context
from rlhfkit.intervals import by_prompt, interval, item_rows
from rlhfkit.types import Evaluation, Metric, PolicySamples
from rlhfkit_brevity import WordsConfig


class Words:
    """`words` and `short` per policy; answers to one prompt count as one item."""

    def __init__(self, config: WordsConfig, context: Context) -> None:
        self._config, self._seed = config, context.config.seed

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        metrics, rows = {}, []
        for policy, own in samples.items():
            words = [float(len(text.split())) for text in own.completions]
            short = [float(count <= self._config.words) for count in words]
            metrics[policy] = {
                "words": self._mean(by_prompt(own, words)),
                "short": self._mean(by_prompt(own, short)),
            }
            rows += item_rows(own, words=words, short=short)
        return Evaluation(metrics, rows)

    def _mean(self, values: Sequence[float]) -> Metric:
        return interval(values, 0.95, self._config.resamples, self._seed)
