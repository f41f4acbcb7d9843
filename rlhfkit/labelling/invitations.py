"""Who may label: a secret link per labeler, of which only a digest is kept."""

import hmac
import re
from collections.abc import Iterable

from rlhfkit.errors import UserError
from rlhfkit.web.tokens import digest

GOLD = "gold"
"""What this labeler says is known to be right: everybody is asked those items and compared."""

_NAME = re.compile(r"[\w][\w .@+-]{0,39}")


def labeler_of(token: str, known: Iterable[tuple[str, str]]) -> str | None:
    """Whose token this is, None for nobody's; takes as long for a token that is nearly right.

    known: digests and labelers.
    """
    asked, found = digest(token), None
    for stored, labeler in known:
        if hmac.compare_digest(stored, asked):
            found = labeler
    return found


def require_name(name: str) -> str:
    """A labeler's name as it is stored; `UserError` for one that is empty, long or no name."""
    name = " ".join(name.split())
    if name.lower().startswith("simulated"):
        raise UserError(f"labeler {name!r:.60}: names of simulated labelers begin so; take another")
    if not _NAME.fullmatch(name):
        raise UserError(
            f"labeler {name!r:.60}: a name has 1 to 40 letters, digits, blanks or any of .@+-_ "
            f"and begins with a letter or digit"
        )
    return name
