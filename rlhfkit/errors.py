"""A mistake of the user's: one line, exit status 2; everything else keeps its traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake the user can mend; its text is one line: what, where, the nearest right choice."""


class Mistakes(UserError):
    """Several mistakes that were found together, a line each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class Stopped(UserError):
    """A stage that cannot go on through no fault of the options': what is finished is kept, and the
    command line adds the command that resumes."""


class GateFailed(UserError):
    """Every stage is complete, and a metric is beyond a limit of the run's: exit status 3."""


class NotRun(UserError):
    """What an evaluator measures with cannot be had: its numbers are left out, and the reason is
    told in their place."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A phrase that ends an error line: the closest choices, or all of them when none is close."""
    known = sorted(set(choices))
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(choice) for choice in close)}?"
    return f"choices: {', '.join(known) or 'none'}"
