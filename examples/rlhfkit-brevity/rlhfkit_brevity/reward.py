"""reward=brevity."""

from typing import Any

from rlhfkit.context import Context
from rlhfkit_brevity import BrevityConfig


class BrevityReward:
    """A plain function of the texts, with TRL's signature."""

    def __init__(self, config: BrevityConfig, context: Context) -> None:
        self.words = config.words

    def __call__(self, prompts: list[Any], completions: list[str], **columns: Any) -> list[float]:
        return [min(1.0, self.words / max(1, len(text.split()))) for text in completions]
