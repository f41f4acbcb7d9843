"""The three KL controllers; `coef` is read before a batch, `update` is called after it."""

from collections.abc import Mapping

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.rl.kl import adaptive_coef
from rlhfkit_plugins.kl import AdaptiveConfig, FixedConfig, NoneConfig


class FixedKL:
    """A constant coefficient."""

    def __init__(self, config: FixedConfig, context: Context | None = None) -> None:
        self.coef = config.kl_coef

    def update(self, kl: float, num_episodes: int) -> None:
        """Nothing moves it."""

    def state_dict(self) -> dict[str, float]:
        return {"coef": self.coef}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.coef = state["coef"]


class NoKL(FixedKL):
    """A coefficient of 0."""

    def __init__(self, config: NoneConfig, context: Context | None = None) -> None:
        super().__init__(FixedConfig(kl_coef=0.0), context)


class AdaptiveKL(FixedKL):
    """Proportional control in log space towards a target KL (Ziegler et al. 2019, section 2.2)."""

    def __init__(self, config: AdaptiveConfig, context: Context | None = None) -> None:
        if context is not None and context.config.stage.rl.batch_size >= 5 * config.horizon:
            raise UserError(
                f"kl.horizon={config.horizon}: too short for stage.rl.batch_size="
                f"{context.config.stage.rl.batch_size}; one update could reach 0"
            )
        super().__init__(FixedConfig(kl_coef=config.init_kl_coef), context)
        self.target, self.horizon = config.target, config.horizon

    def update(self, kl: float, num_episodes: int) -> None:
        """Move the coefficient up when KL is above the target, down when below."""
        self.coef = adaptive_coef(self.coef, kl, self.target, num_episodes, self.horizon)
