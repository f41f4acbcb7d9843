"""What the forms of other labelling programs have in common."""

from typing import Any

from rlhfkit.labelling.items import Item
from rlhfkit.labelling.records import StoredJudgement
from rlhfkit.types import Messages

Row = dict[str, Any]
Said = list[tuple[Item, StoredJudgement]]
Imported = tuple[Item, str, list[int]]
"""An item, a labeler and ranks."""


def by_item(said: Said) -> list[tuple[Item, list[StoredJudgement]]]:
    """First looks by item."""
    found: dict[str, tuple[Item, list[StoredJudgement]]] = {}
    for item, one in said:
        if not one.repeat:
            found.setdefault(one.item, (item, []))[1].append(one)
    return list(found.values())


def as_text(prompt: Messages) -> str:
    """A prompt as one text, with its speakers where it has turns."""
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def imported_item(messages: Any, prompt: Any, completions: list[str]) -> Item:
    """A prompt and completions from elsewhere; of a conversation its messages."""
    turns = messages or [{"role": "user", "content": prompt}]
    return Item("import", turns, completions, [True] * len(completions))
