"""What a diagnosis says when it finds something."""

from collections.abc import Callable
from dataclasses import dataclass

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.series import LEAST_WINDOW


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. Sentences are for people; options are typed as they stand."""

    saw: str
    """The numbers, and the iterations they are from."""

    cause: str
    """What most likely lies behind them."""

    change: tuple[str, ...]
    """Options with values, as in ("kl=adaptive", "kl.target=6"); any one of them may help."""

    source: str = ""
    """Where this is described, where there is such a place."""


@dataclass(frozen=True)
class Diagnosis:
    """Something that can be wrong with a run, and how it is told."""

    name: str
    """Short, as it is listed."""

    needs: tuple[str, ...]
    """Metrics of stage rl, or other parts of `Evidence`, without which nothing can be said."""

    examine: Callable[[Evidence], Finding | None]

    iterations: int = LEAST_WINDOW
    """How many there must be of each metric."""
