"""KL controllers: the coefficient of the penalty that keeps the policy near the SFT model."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.errors import UserError
from rlhfkit.validators import require_above_zero, require_not_negative


@dataclass
class NoneConfig:
    """No penalty; the KL is still measured."""


@dataclass
class FixedConfig:
    """A constant coefficient (InstructGPT: 0.02)."""

    kl_coef: float = 0.02
    """Coefficient of the KL penalty, constant (InstructGPT, C.4: 0.02)."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "kl_coef")


@dataclass
class AdaptiveConfig:
    """Steers the KL to a target (Ziegler et al. 2019, section 2.2)."""

    init_kl_coef: float = 0.15
    """Coefficient of the KL penalty in the first batch."""

    target: float = 6.0
    """KL to steer to, in nats per completion."""

    horizon: int = 10_000
    """Episodes over which a full deviation changes the coefficient by its size."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "init_kl_coef", "target", "horizon")


@dataclass
class PidConfig:
    """Holds the KL at or below a target by a PID controller (Stooke et al. 2020, algorithm 2).

    ki alone is dual ascent on a Lagrange multiplier. Gains are in coefficient per nat and
    iteration."""

    target: float = 6.0
    """The most KL to allow, in nats per completion."""

    init_kl_coef: float = 0.0
    """Coefficient that the integral starts from."""

    kp: float = 0.01
    """Gain of KL - target."""

    ki: float = 0.001
    """Gain of its sum over the iterations."""

    kd: float = 0.01
    """Gain of the KL's rise since the last iteration."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "target")
        require_not_negative(name, self, "init_kl_coef", "kp", "ki", "kd")
        if self.kp == self.ki == self.kd == 0:
            raise UserError("kl=pid: kp, ki and kd are all 0; kl=fixed is a constant coefficient")


@dataclass
class LinearConfig:
    """A straight line over `stage.rl.total_episodes`."""

    start: float = 0.1
    """Coefficient of the KL penalty in the first batch."""

    end: float = 0.0
    """Coefficient of the KL penalty in the last batch."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "start", "end")


@dataclass
class CosineConfig(LinearConfig):
    """Half a cosine over `stage.rl.total_episodes`."""


@hookimpl
def kl_controllers() -> Sequence[Component]:
    return (
        Component("none", NoneConfig, "rlhfkit_plugins.kl.controllers:NoKL"),
        Component("fixed", FixedConfig, "rlhfkit_plugins.kl.controllers:FixedKL"),
        Component("adaptive", AdaptiveConfig, "rlhfkit_plugins.kl.controllers:AdaptiveKL"),
        Component("pid", PidConfig, "rlhfkit_plugins.kl.pid:PidKL"),
        Component("linear", LinearConfig, "rlhfkit_plugins.kl.schedules:LinearKL"),
        Component("cosine", CosineConfig, "rlhfkit_plugins.kl.schedules:CosineKL"),
    )
