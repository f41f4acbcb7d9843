"""What a malformed input must end in."""

from collections.abc import Callable
from typing import Any

import pytest

from rlhfkit.data.split_keys import prompt_key
from rlhfkit.errors import UserError
from rlhfkit.types import Demonstration, Ranking


def refused(call: Callable[..., Any], *arguments: Any, says: str = "", names: str = "") -> str:
    """The one line of the `UserError` that a call must raise, which holds both texts."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    line = str(caught.value)
    assert says in line
    assert names in line
    assert len(line.splitlines()) == 1
    return line


def well_formed(item: Any) -> bool:
    """Whether an item of a split is what the stages take it for."""
    if isinstance(item, str):
        return bool(item.strip())
    if isinstance(item, Demonstration):
        return _is_prompt(item.prompt) and bool(item.completion.strip())
    if isinstance(item, Ranking):
        return _is_prompt(item.prompt) and _is_ranked(item)
    return _is_prompt(item)


def _is_prompt(prompt: Any) -> bool:
    """An empty message may stand before the last, as of the system."""
    texts = [turn[key] for turn in prompt for key in ("role", "content")]
    asks = bool(prompt_key(prompt)[1]) and bool(prompt[-1]["content"].strip())
    return asks and all(isinstance(text, str) for text in texts)


def _is_ranked(item: Ranking) -> bool:
    return (
        len(item.completions) == len(item.ranks) == len(item.finished)
        and len(set(item.ranks)) > 1
        and all(isinstance(text, str) and text.strip() for text in item.completions)
        and all(type(rank) is int for rank in item.ranks)
        and all(type(flag) is bool for flag in item.finished)
    )
