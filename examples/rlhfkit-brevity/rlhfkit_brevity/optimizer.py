"""optimizer=running_baseline: REINFORCE against the average reward so far."""

from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.online.critic_free import TokenLoss
from rlhfkit.online.rollout import Rollout
from rlhfkit.storage.state_file import State
from rlhfkit_brevity import RunningBaselineConfig


class RunningBaseline(TokenLoss):
    """A response's advantage is its reward less a moving average of all earlier ones."""

    config: RunningBaselineConfig

    def __init__(self, config: RunningBaselineConfig, context: Context) -> None:
        super().__init__(config, context)
        self.baseline = 0.0

    def rewards(self, rollout: Rollout) -> Tensor:
        """[B] scores less the KL that is charged for."""
        return rollout.scores - self.kl.coef * self.kl_penalty.in_reward(rollout).sum(1)

    def advantages(self, rollout: Rollout) -> Tensor:
        return (self.rewards(rollout) - self.baseline).view(-1, 1)

    def step(self, rollout: Rollout) -> dict[str, float]:
        metrics = super().step(rollout) | {"objective/baseline": self.baseline}
        mean = float(self.rewards(rollout).mean())
        self.baseline += (1 - self.config.baseline_decay) * (mean - self.baseline)
        return metrics

    def state_dict(self) -> State:
        return {**super().state_dict(), "baseline": self.baseline}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.baseline = state["baseline"]
