"""KL controllers: the coefficient of the penalty that keeps the policy near the SFT model."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component


@dataclass
class NoneConfig:
    """No penalty; the KL is still measured."""


@dataclass
class FixedConfig:
    """A constant coefficient (InstructGPT: 0.02)."""

    kl_coef: float = 0.02


@dataclass
class AdaptiveConfig:
    """Steers the KL to a target (Ziegler et al. 2019, section 2.2)."""

    init_kl_coef: float = 0.15
    target: float = 6.0
    """Nats per completion."""

    horizon: int = 10_000
    """Episodes over which a full deviation changes the coefficient by its size."""


@hookimpl
def kl_controllers() -> Sequence[Component]:
    return (
        Component("none", NoneConfig, "rlhfkit_plugins.kl.controllers:NoKL"),
        Component("fixed", FixedConfig, "rlhfkit_plugins.kl.controllers:FixedKL"),
        Component("adaptive", AdaptiveConfig, "rlhfkit_plugins.kl.controllers:AdaptiveKL"),
    )
