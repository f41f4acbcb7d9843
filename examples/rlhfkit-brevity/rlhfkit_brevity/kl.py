"""kl=halving."""

from collections.abc import Mapping

from rlhfkit.context import Context
from rlhfkit_brevity import HalvingConfig


class HalvingKL:
    """A schedule: what the KL is does not matter to it."""

    def __init__(self, config: HalvingConfig, context: Context) -> None:
        self.config = config
        self.seen = 0

    @property
    def coef(self) -> float:
        return self.config.start * 0.5 ** (self.seen / self.config.episodes)

    def update(self, kl: float, num_episodes: int) -> None:
        self.seen += num_episodes

    def state_dict(self) -> dict[str, float]:
        return {"seen": float(self.seen)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.seen = int(state["seen"])
