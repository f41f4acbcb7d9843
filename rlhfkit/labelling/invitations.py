"""Who may label: a secret link per labeler, of which only a digest is kept."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from rlhfkit.errors import UserError

GOLD = "gold"
"""What this labeler says is known to be right: everybody is asked those items and compared."""

_NAME = re.compile(r"[\w][\w .@+-]{0,39}")


def new_token() -> str:
    """32 random bytes as text for a link."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def labeler_of(token: str, known: Iterable[tuple[str, str]]) -> str | None:
    """Whose token this is, None for nobody's; takes as long for a token that is nearly right.

    known: digests and labelers.
    """
    asked, found = digest(token), None
    for stored, labeler in known:
        if hmac.compare_digest(stored, asked):
            found = labeler
    return found


def form_token(secret: str, session: str) -> str:
    """What each form of a session must send back: nobody else can compute it."""
    return hmac.new(secret.encode(), session.encode(), hashlib.sha256).hexdigest()


def is_form_token(given: str, secret: str, session: str) -> bool:
    """Whether a form came from a page of this session."""
    expected = form_token(secret, session)
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


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
