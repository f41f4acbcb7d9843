"""Conversations in other forms than messages: hh-rlhf's texts, ShareGPT's `from` and `value`."""

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from rlhfkit.data.messages import Unusable
from rlhfkit.types import Messages

_TURN = re.compile(r"\n\n(Human|Assistant):")
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}

_ROLES = {
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "observation": "tool",
    "function_response": "tool",
}
"""What ShareGPT's files and OpenAssistant's call the roles; other names stay."""


def is_dialogue(text: Any) -> bool:
    """Whether a text is written as turns of "Human:" and "Assistant:"."""
    return isinstance(text, str) and _TURN.match("\n\n" + text.strip()) is not None


def parse_dialogue(text: Any) -> Messages:
    r"""Messages of "\n\nHuman: ...\n\nAssistant: ...", outer blanks of the turns taken off.

    Raises `Unusable` unless the turns alternate from Human to Assistant and none is empty.
    """
    turns = parse_turns(text)
    if len(turns) % 2:
        raise Unusable("turns do not alternate from Human to Assistant")
    if not all(turn["content"] for turn in turns):
        raise Unusable("empty turn")
    return turns


def parse_prompt(text: Any) -> Messages:
    """Messages of a dialogue that ends with "Assistant:", whose answer is still to come."""
    turns = parse_turns(text)
    if turns[-1] == {"role": "assistant", "content": ""}:
        turns = turns[:-1]
    return turns


def parse_turns(text: Any) -> Messages:
    """Messages of a dialogue, empty ones too; raises `Unusable` unless the turns alternate."""
    if not isinstance(text, str):
        raise Unusable("dialogue is not text")
    before, *parts = _TURN.split("\n\n" + text.strip())
    speakers, contents = parts[::2], [content.strip() for content in parts[1::2]]
    wanted = ["Human", "Assistant"] * (len(speakers) // 2 + 1)
    if before or not speakers or speakers != wanted[: len(speakers)]:
        raise Unusable("turns do not alternate from Human to Assistant")
    return [
        {"role": _SPEAKERS[speaker], "content": content}
        for speaker, content in zip(speakers, contents, strict=True)
    ]


def shared_beginning(texts: list[str]) -> str:
    """What texts have in common, up to the end of a word."""
    together = takewhile(lambda signs: len(set(signs)) == 1, zip(*texts, strict=False))
    common = "".join(signs[0] for signs in together)
    whole = all(len(text) == len(common) or text[len(common)].isspace() for text in texts)
    words = common if whole else common[: max(common.rfind(blank) for blank in " \n\t") + 1]
    return words.rstrip(" ")


def to_role(name: Any) -> Any:
    """The role of a speaker in the names of transformers' templates."""
    return _ROLES.get(name, name) if isinstance(name, str) else name


def from_sharegpt(turns: Any) -> Any:
    """ShareGPT's turns as messages; what is none of them stays, and is refused as no message."""
    if isinstance(turns, Mapping):
        return _from_turn(turns)
    return [_from_turn(turn) for turn in turns] if isinstance(turns, list) else turns


def _from_turn(turn: Any) -> Any:
    if not isinstance(turn, Mapping):
        return turn
    rest = {name: part for name, part in turn.items() if name not in ("from", "value")}
    if "from" not in turn:
        return rest | {"role": to_role(turn.get("role"))}
    return rest | {"role": to_role(turn["from"]), "content": turn.get("value")}
