"""kl=linear and kl=cosine: the coefficient by the number of episodes, whatever the KL."""

from collections.abc import Mapping
from typing import Literal

from rlhfkit.context import Context
from rlhfkit.rl.kl import scheduled_coef
from rlhfkit_plugins.kl import LinearConfig


class LinearKL:
    """From `start` at the first iteration to `end` after `stage.rl.total_episodes`."""

    shape: Literal["linear", "cosine"] = "linear"

    def __init__(self, config: LinearConfig, context: Context) -> None:
        self._config = config
        self._total = context.config.stage.rl.total_episodes
        self._episodes = 0

    @property
    def coef(self) -> float:
        progress = min(1.0, self._episodes / self._total)
        return scheduled_coef(self._config.start, self._config.end, progress, self.shape)

    def update(self, kl: float, num_episodes: int) -> None:
        """Count the episodes."""
        self._episodes += num_episodes

    def state_dict(self) -> dict[str, float]:
        return {"episodes": self._episodes}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self._episodes = int(state["episodes"])


class CosineKL(LinearKL):
    """The same along half a cosine."""

    shape = "cosine"
