"""kl=linear."""

from collections.abc import Mapping

from rlhfkit.context import Context
from rlhfkit_brevity import LinearConfig


class LinearKL:
    """A schedule: what the KL is does not matter to it."""

    def __init__(self, config: LinearConfig, context: Context) -> None:
        self.config = config
        self.seen = 0

    @property
    def coef(self) -> float:
        share = min(1.0, self.seen / self.config.episodes)
        return self.config.start + share * (self.config.end - self.config.start)

    def update(self, kl: float, num_episodes: int) -> None:
        self.seen += num_episodes

    def state_dict(self) -> dict[str, float]:
        return {"seen": float(self.seen)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.seen = int(state["seen"])
