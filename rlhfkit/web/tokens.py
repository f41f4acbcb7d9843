"""Secrets of pages: links that let somebody in, and what each form must send back."""

import hashlib
import hmac
import secrets


def new_token() -> str:
    """32 random bytes as text for a link."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so that no slow hash is needed."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def form_token(secret: str, session: str) -> str:
    """What each form of a session must send back: nobody else can compute it."""
    return hmac.new(secret.encode(), session.encode(), hashlib.sha256).hexdigest()


def is_form_token(given: str, secret: str, session: str) -> bool:
    """Whether a form came from a page of this session."""
    expected = form_token(secret, session)
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
