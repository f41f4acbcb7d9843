"""kl=pid: the coefficient as the Lagrange multiplier of a constraint on the KL."""

from collections.abc import Mapping

from rlhfkit.context import Context
from rlhfkit.rl.kl import pid_coef
from rlhfkit_plugins.kl import PidConfig


class PidKL:
    """PID control towards a target KL (Stooke et al. 2020, algorithm 2)."""

    def __init__(self, config: PidConfig, context: Context | None = None) -> None:
        self._config = config
        self.coef = self._integral = config.init_kl_coef
        self._previous: float | None = None

    def update(self, kl: float, num_episodes: int) -> None:
        """Up while the KL is above the target or rises, down when below."""
        gains = self._config.kp, self._config.ki, self._config.kd
        self.coef, self._integral = pid_coef(
            kl, self._previous, self._integral, self._config.target, *gains
        )
        self._previous = kl

    def state_dict(self) -> dict[str, float]:
        state = {"coef": self.coef, "integral": self._integral}
        return state if self._previous is None else {**state, "previous": self._previous}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.coef, self._integral = state["coef"], state["integral"]
        self._previous = state.get("previous")
