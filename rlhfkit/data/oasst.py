"""OpenAssistant's conversations: trees in which prompters and assistants take turns.

The hub's data sets have a message a row, the published files a tree a row.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rlhfkit.data.dialogues import to_role
from rlhfkit.types import Messages

Row = Mapping[str, Any]
Node = Mapping[str, Any]


def prompts(rows: Iterable[Row]) -> list[Row]:
    """Every conversation up to a prompter's message."""
    return [{"prompt": path} for path, _ in _asked(rows)]


def demonstrations(rows: Iterable[Row]) -> list[Row]:
    """The best reply to each of them; the first where none is ranked."""
    return [
        {"prompt": path, "completion": min(replies, key=_rank)["text"]}
        for path, replies in _asked(rows)
        if replies
    ]


def rankings(rows: Iterable[Row]) -> list[Row]:
    """The ranked replies to each of them; OpenAssistant's best rank is 0."""
    found: list[Row] = []
    for path, replies in _asked(rows):
        ranked = [reply for reply in replies if reply.get("rank") is not None]
        if len(ranked) > 1:
            texts = [reply["text"] for reply in ranked]
            ranks = [1 + reply["rank"] for reply in ranked]
            found.append({"prompt": path, "completions": texts, "ranks": ranks})
    return found


def _rank(reply: Node) -> float:
    rank = reply.get("rank")
    return float("inf") if rank is None else rank


def _asked(rows: Iterable[Row]) -> Iterator[tuple[Messages, list[Node]]]:
    """Conversations that end with a prompter's message, and the replies to each."""
    replies: dict[Any, list[Node]] = defaultdict(list)
    for node in _nodes(rows):
        if isinstance(node.get("text"), str) and not node.get("deleted"):
            replies[node.get("parent_id")].append(node)
    waiting: list[tuple[Messages, Node]] = [([], root) for root in reversed(replies[None])]
    while waiting:
        before, node = waiting.pop()
        path = [*before, {"role": to_role(node.get("role")), "content": node["text"]}]
        below = replies[node.get("message_id")] if node.get("message_id") is not None else []
        if path[-1]["role"] == "user":
            yield path, [reply for reply in below if reply.get("role") == "assistant"]
        waiting += [(path, reply) for reply in reversed(below)]


def _nodes(rows: Iterable[Row]) -> Iterator[Node]:
    """All messages; those of a tree in a row refer to their parents as the hub's do."""
    for row in rows:
        if "parent_id" in row:
            yield row
            continue
        waiting = [(None, row.get("prompt"))]
        while waiting:
            parent, node = waiting.pop()
            if isinstance(node, Mapping):
                yield {**node, "parent_id": parent}
                below = node.get("replies")
                if isinstance(below, list):
                    waiting += [(node.get("message_id"), reply) for reply in reversed(below)]
