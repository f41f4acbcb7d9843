"""reward=length: completions of the wanted length."""

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.types import Messages
from rlhfkit_plugins.rewards import LengthConfig


class LengthReward:
    """1 within the range, less 1 / slope for every word outside it, never below 0."""

    def __init__(self, config: LengthConfig, context: Context | None = None) -> None:
        if not 0 <= config.min <= config.max:
            raise UserError(
                f"reward.length.min={config.min}, reward.length.max={config.max}: "
                f"needs 0 <= min <= max"
            )
        if config.slope < 0:
            raise UserError(f"reward.length.slope={config.slope}: must not be negative")
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
