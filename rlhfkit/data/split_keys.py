"""Who is on which side of a split: rows of one user, or of one prompt, are never on both."""

import hashlib
from collections.abc import Mapping
from typing import Any

from rlhfkit.data.text_format import plain_text
from rlhfkit.types import Messages

Key = tuple[str, str]
"""What must not be in training and in held-out data: ("prompt", text) or ("user", name)."""


def keys(row: Mapping[str, Any], prompt: Messages) -> set[Key]:
    """A row's prompt, and its user where known."""
    user = user_of(row)
    return {prompt_key(prompt)} | ({("user", user)} if user is not None else set())


def prompt_key(prompt: Messages) -> Key:
    """Equal for prompts that differ in nothing but white space."""
    return "prompt", " ".join(plain_text(prompt).split())


def user_of(row: Mapping[str, Any]) -> str | None:
    """Who wrote a row's prompt; csv has an empty cell where that is unknown."""
    user = row.get("user")
    return None if user in (None, "") else str(user)


def position(row: Mapping[str, Any], prompt: Messages) -> float:
    """A pseudo-random number from 0 to below 1, the same for all rows of a user, or of a prompt
    where rows have no user; the same in every run."""
    return place_of(user_of(row) or plain_text(prompt))


def place_of(text: str) -> float:
    """A pseudo-random number from 0 to below 1, the same for equal texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
