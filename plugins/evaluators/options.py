"""The options that evaluators share. No torch here."""

from dataclasses import dataclass

from rlhfkit.errors import UserError
from rlhfkit.validators import require_above_zero


@dataclass
class IntervalConfig:
    """How the bootstrap intervals of the numbers are made."""

    confidence_level: float = 0.95
    """Confidence level of the intervals."""

    resamples: int = 10_000
    """Bootstrap resamples over prompts."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        if not 0 < self.confidence_level < 1:
            raise UserError(
                f"{name}.confidence_level={self.confidence_level}: must be above 0 and below 1"
            )
        require_above_zero(name, self, "resamples")
