"""Memory that is held to save time alone: it is given back where something else runs out of it."""

from typing import Protocol
from weakref import WeakSet

from rlhfkit.console import console


class Spare(Protocol):
    """What holds some."""

    def give_back(self) -> str | None:
        """Free it, and take no more of it from now on; says what it was, None where it had none."""


_holders: WeakSet[Spare] = WeakSet()


def offer(holder: Spare) -> None:
    """Let what this one holds be asked for, as long as it lives."""
    _holders.add(holder)


def reclaim(phase: str) -> bool:
    """Before a phase that ran out of memory computes less at once: whether there is more now."""
    freed = [what for holder in list(_holders) if (what := holder.give_back()) is not None]
    for what in freed:
        console.print(f"out of memory in {phase}: again, without {what}", soft_wrap=True)
    return bool(freed)
