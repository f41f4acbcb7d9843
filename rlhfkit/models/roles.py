"""The four models of RLHF."""

from dataclasses import dataclass

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import ScalarModel


@dataclass(frozen=True)
class RoleModels:
    """One object from the loader, because the loader decides what the roles share."""

    policy: LanguageModel
    """Trained; starts as a copy of the SFT model."""

    reference: LanguageModel
    """Frozen SFT model: the KL penalty is measured against it."""

    value: ScalarModel
    """Trained; starts as a copy of the reward model, head included."""

    reward: ScalarModel | None
    """Frozen reward model of this run; None when rewards are functions alone."""

    shared_depth: int = 0
    """Lower layers that are the same in all of them and stay so."""
