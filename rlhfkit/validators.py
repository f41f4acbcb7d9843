"""Options outside their meaning, refused in one line that names the option. No torch here.

`prefix` is where the config stands in the run's options, as `check(name)` is told; empty for the
run's own. A value of None is a choice and never refused.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from rlhfkit.errors import UserError, nearest


def require_above_zero(prefix: str, config: Any, *names: str) -> None:
    """Each named option is a finite number above 0."""
    for option, value in _given(prefix, config, names):
        if not 0 < value < math.inf:
            raise UserError(f"{option}={value}: must be a finite number above 0")


def require_not_negative(prefix: str, config: Any, *names: str) -> None:
    """Each named option is a finite number from 0 on."""
    for option, value in _given(prefix, config, names):
        if not 0 <= value < math.inf:
            raise UserError(f"{option}={value}: must be a finite number, not negative")


def require_at_least(prefix: str, config: Any, least: int, *names: str) -> None:
    """Each named option is a finite number from `least` on."""
    for option, value in _given(prefix, config, names):
        if not least <= value < math.inf:
            raise UserError(f"{option}={value}: must be at least {least}")


def require_fractions(prefix: str, config: Any, *names: str) -> None:
    """Each named option is a number from 0 to 1."""
    for option, value in _given(prefix, config, names):
        if not 0 <= value <= 1:
            raise UserError(f"{option}={value}: must be from 0 to 1")


def require_below(prefix: str, config: Any, limit: float, *names: str) -> None:
    """Each named option is a number from 0 on and below the limit."""
    for option, value in _given(prefix, config, names):
        if not 0 <= value < limit:
            raise UserError(f"{option}={value}: must be at least 0 and below {limit}")


def require_finite(prefix: str, config: Any, *names: str) -> None:
    """Each named option is a finite number."""
    for option, value in _given(prefix, config, names):
        if not math.isfinite(value):
            raise UserError(f"{option}={value}: must be a finite number")


def require_one_of(prefix: str, config: Any, choices: Iterable[str], *names: str) -> None:
    """Each named option's value is one of the choices."""
    for option, value in _given(prefix, config, names):
        if value not in set(choices):
            raise UserError(f"{option}={value}: {nearest(value, choices)}")


def _given(prefix: str, config: Any, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Full names and values."""
    for name in names:
        value = getattr(config, name)
        if value is not None:
            yield f"{prefix}.{name}".lstrip("."), value


def is_ranking(ranks: Any, count: int) -> bool:
    """Whether there is a whole number for each of so many completions."""
    return (
        isinstance(ranks, list)
        and len(ranks) == count
        and all(type(rank) is int and abs(rank) < 2**31 for rank in ranks)
    )
