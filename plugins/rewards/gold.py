"""reward=gold: the score that the labelers rank by, which a reward model only stands for."""

from typing import Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.types import Messages
from rlhfkit_plugins.rewards import GoldConfig


class GoldReward:
    """Asks the run's labelers; those who have no numbers, as people, cannot be asked."""

    def __init__(self, config: GoldConfig, context: Context) -> None:
        self.check_run(config, context)
        self._labeler: Any = context.build("labeler")

    @staticmethod
    def check_run(config: GoldConfig, context: Context) -> None:
        """Raise `UserError` for labelers without a score."""
        chosen = context.config.labeler
        if not hasattr(context.factory("labeler", chosen), "score"):
            raise UserError(
                f"reward=gold: labeler={chosen.name} has no score to give; choose "
                f"labeler=simulated or labeler=reward_model"
            )

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: object
    ) -> list[float]:
        scores: list[float] = self._labeler.score(prompts, completions)
        return scores
