"""Prompts that the suites ask about."""

from rlhfkit.types import Messages

PROMPTS: list[Messages] = [
    [{"role": "user", "content": "Name a fruit."}],
    [{"role": "user", "content": "Say hello to a friend."}],
]
