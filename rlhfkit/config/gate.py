"""Limits that a run must keep, under `gate.<metric>`. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rlhfkit.errors import UserError, nearest
from rlhfkit.validators import require_finite, require_not_negative, require_one_of

REFERENCES = ("base", "sft")


@dataclass
class GateConfig:
    """Limits of one metric of the final policy, as in +gate.win_rate.min=0.5. They are held against
    the interval, not the value: where it reaches beyond one, the run fails with exit status 3."""

    min: float | None = None
    """The lower end of the interval must not be below this."""

    max: float | None = None
    """The upper end of the interval must not be above this."""

    max_loss: float | None = None
    """How far the policy may fall behind `against`: the worse end of their paired interval, of
    metrics in the table of the alignment tax."""

    against: str = "base"
    """What `max_loss` is measured against: base or sft."""

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> "GateConfig":
        """The limits of one metric; `UserError` for options that are none."""
        known = [item.name for item in fields(cls)]
        for option, value in options.items():
            if option not in known:
                raise UserError(f"{name}.{option}: no such option; {nearest(option, known)}")
            if option != "against" and type(value) not in (int, float):
                raise UserError(f"{name}.{option}={value}: must be a number")
        gate = cls(**options)
        gate.check(name)
        return gate

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_finite(name, self, "min", "max")
        require_not_negative(name, self, "max_loss")
        require_one_of(name, self, REFERENCES, "against")
        if self.min is self.max is self.max_loss is None:
            raise UserError(f"{name}: sets no limit; give min, max or max_loss")
