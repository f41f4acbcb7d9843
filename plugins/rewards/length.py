"""reward=length: completions of the wanted length."""

from rlhfkit.context import Context
from rlhfkit.types import Messages
from rlhfkit_plugins.rewards import LengthConfig


class LengthReward:
    """1 within the range, less 1 / slope for every word outside it, never below 0."""

    def __init__(self, config: LengthConfig, context: Context | None = None) -> None:
        self._config = config

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: object
    ) -> list[float]:
        return [self._score(len(completion.split())) for completion in completions]

    def _score(self, words: int) -> float:
        outside = max(self._config.min - words, words - self._config.max, 0)
        if outside and not self._config.slope:
            return 0.0
        return max(0.0, 1 - outside / max(self._config.slope, 1))
