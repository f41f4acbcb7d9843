"""reward=format: completions of a wanted form."""

import re

from rlhfkit.context import Context
from rlhfkit.types import Messages
from rlhfkit_plugins.rewards import FormatConfig


class FormatReward:
    """1 when the pattern is found in the completion, else 0."""

    def __init__(self, config: FormatConfig, context: Context | None = None) -> None:
        self._pattern = re.compile(config.pattern)

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: object
    ) -> list[float]:
        return [float(bool(self._pattern.search(completion))) for completion in completions]
