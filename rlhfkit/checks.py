"""A component's own options outside their meaning, in one line that names the option."""

import math
from collections.abc import Iterable
from typing import Any

from rlhfkit.errors import UserError


def require_above_zero(prefix: str, config: Any, *names: str) -> None:
    """Each named option is a finite number above 0, or None where that is a choice."""
    for name, value in _given(config, names):
        if not 0 < value < math.inf:
            raise UserError(f"{prefix}.{name}={value}: must be a finite number above 0")


def require_not_negative(prefix: str, config: Any, *names: str) -> None:
    """Each named option is a finite number from 0 on, or None where that is a choice."""
    for name, value in _given(config, names):
        if not 0 <= value < math.inf:
            raise UserError(f"{prefix}.{name}={value}: must be a finite number, not negative")


def _given(config: Any, names: Iterable[str]) -> Iterable[tuple[str, float]]:
    values = ((name, getattr(config, name)) for name in names)
    return ((name, value) for name, value in values if value is not None)
