"""reward=sentiment: completions of a wanted mood."""

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from rlhfkit.context import Context
from rlhfkit.types import Messages
from rlhfkit_plugins.rewards import SentimentConfig


class SentimentReward:
    """1 less the distance of VADER's compound score from the target: the score itself for a target
    of 1, its negative for -1."""

    def __init__(self, config: SentimentConfig, context: Context | None = None) -> None:
        self._target = config.target
        self._analyzer = SentimentIntensityAnalyzer()

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: object
    ) -> list[float]:
        return [1 - abs(self._compound(text) - self._target) for text in completions]

    def _compound(self, text: str) -> float:
        compound: float = self._analyzer.polarity_scores(text)["compound"]
        return compound
