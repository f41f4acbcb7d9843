"""Messages of a row: those of its prompt, and those of answers that are given as conversations."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlhfkit.types import Message, Messages

TEMPLATE_INPUTS = ("tools", "chat_template_kwargs")
"""What a chat template reads beside messages; a prompt's first message holds it."""

ANSWER_INPUTS = ("tool_calls", "reasoning_content", "reasoning", "thinking")
"""What an answer may be besides its text."""


class Unusable(ValueError):
    """A row that is dropped; the text says why and is counted."""


def to_messages(prompt: Any) -> Messages:
    """A prompt as messages, from a text or from messages."""
    if isinstance(prompt, str):
        return with_text([{"role": "user", "content": prompt}])
    return with_text(turns_of(prompt))


def turns_of(value: Any) -> Messages:
    """A column's messages, the assistant's last one among them."""
    if not isinstance(value, list) or not value:
        raise Unusable("prompt is neither text nor messages")
    if not all(map(_is_message, value)):
        raise Unusable("a message lacks role or content")
    return [_message(turn) for turn in value]


def with_text(turns: Messages) -> Messages:
    """Messages that ask for something; an empty one may stand before, as of the system."""
    if not turns or not turns[-1]["content"].strip():
        raise Unusable("empty prompt")
    return turns


def with_template_inputs(prompt: Messages, row: Mapping[str, Any]) -> Messages:
    """A prompt whose first message holds the row's `tools` and `chat_template_kwargs`."""
    found = {name: plain_json(_parsed(row.get(name))) for name in TEMPLATE_INPUTS}
    given = {name: value for name, value in found.items() if value}
    return [prompt[0] | given, *prompt[1:]] if given else prompt


def with_answers(prompt: Any, answers: Sequence[Any]) -> tuple[Messages, Messages]:
    """The prompt with the history that all answers share, and the message of each answer.

    prompt: text or messages; None where the answers are whole conversations. answers: texts,
    messages, or conversations that go on from the prompt or begin with it.
    """
    if not answers:
        raise Unusable("fewer than two completions")
    told = [_conversation(value) for value in answers]
    histories = [_history(prompt, turns[:-1]) for turns in told]
    if any(_said(other) != _said(histories[0]) for other in histories):
        raise Unusable("the answers' conversations differ before the last message")
    return with_text(histories[0]), [turns[-1] for turns in told]


def plain_json(value: Any) -> Any:
    """A value without its missing parts: columns fill up what only other rows have with None.
    None for what JSON has not."""
    if isinstance(value, Mapping):
        kept = {str(name): plain_json(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part is not None}
    if isinstance(value, list | tuple):
        return [plain_json(part) for part in value if part is not None]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float) else None


def _is_message(turn: Any) -> bool:
    """Whether role and content are texts; an answer of tool calls alone may lack its content."""
    if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
        return False
    content = turn.get("content")
    return isinstance(content, str) or (content is None and bool(turn.get("tool_calls")))


def _message(turn: Mapping[str, Any]) -> Message:
    return {"role": turn["role"], "content": turn.get("content") or ""} | {
        name: part
        for name, part in plain_json(turn).items()
        if name not in ("role", "content") and part not in ("", [], {})
    }


def _parsed(value: Any) -> Any:
    """Tools are often stored as the text of their JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Unusable("'tools' or 'chat_template_kwargs' are no JSON") from error


def _conversation(value: Any) -> Messages:
    """An answer as messages that end with the assistant's."""
    if isinstance(value, str):
        turns: Messages = [{"role": "assistant", "content": value}]
    else:
        parts = value if isinstance(value, list) else [value]
        if not parts or not all(map(_is_message, parts)):
            raise Unusable("empty completion")
        turns = [_message(part) for part in parts]
    if turns[-1]["role"] != "assistant":
        raise Unusable("a conversation does not end with the assistant's")
    return turns


def _history(prompt: Any, before: Messages) -> Messages:
    """The prompt of a conversation whose messages before the answer these are."""
    if prompt is None:
        return before
    asked = to_messages(prompt)
    if not before or before[0]["role"] == "assistant":
        return asked + before
    system = [turn for turn in asked[:1] if turn["role"] == "system"]
    rest = _said(asked[len(system) :])
    places = range(len(before) - len(rest) + 1)
    if rest and any(_said(before[place : place + len(rest)]) == rest for place in places):
        return before if before[0]["role"] == "system" else system + before
    if asked[-1]["role"] == "assistant":
        return asked + before
    raise Unusable("a conversation does not begin with the prompt")


def _said(turns: Messages) -> list[tuple[str, str]]:
    """What tells conversations apart, without ids and the like, nor outer blanks."""
    return [(turn["role"], turn["content"].strip()) for turn in turns]
