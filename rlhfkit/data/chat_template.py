"""Messages through a tokenizer's chat template, at a date that stays, with all that it reads."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from transformers.utils import chat_template_utils

from rlhfkit.data.messages import TEMPLATE_INPUTS
from rlhfkit.errors import UserError
from rlhfkit.types import Messages


class CannotRender(UserError):
    """Messages that a chat template refuses; `reason` is what is counted."""

    def __init__(self, template_of: str, turns: Messages, reason: str) -> None:
        shown = " ".join(" ".join(turn["content"] for turn in turns).split())
        super().__init__(
            f"the chat template of {template_of} cannot render '{shown:.60}': {reason}; set "
            f"model.chat_template or model.chat=false"
        )
        self.reason = f"the chat template refuses: {reason}"


def render(
    tokenizer: Any,
    turns: Messages,
    date: str,
    kwargs: Mapping[str, Any],
    add_generation_prompt: bool = False,
) -> str:
    """The text of messages.

    date: what `strftime_now` tells. kwargs: of every prompt; a message's `chat_template_kwargs`
    come before. Raises `CannotRender`.
    """
    given = {name: turn[name] for turn in turns for name in TEMPLATE_INPUTS if name in turn}
    own = given.get("chat_template_kwargs") or {}
    plain = [{key: turn[key] for key in turn if key not in TEMPLATE_INPUTS} for turn in turns]
    try:
        _pin_date(tokenizer.get_chat_template(tools=given.get("tools")), date)
        text: str = tokenizer.apply_chat_template(
            plain,
            tools=given.get("tools"),
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **{**kwargs, **own},
        )
    except Exception as error:  # a template is a program, and may fail as one
        reason = " ".join(str(error).split())[:200]
        raise CannotRender(tokenizer.name_or_path, turns, reason) from error
    return text


def _pin_date(template: str, date: str) -> None:
    """Let a template's `strftime_now` tell this date. transformers gives it the clock, and lets no
    argument take its place; it keeps the compiled template, which TRL's trainers then use too."""
    compiled = chat_template_utils._compile_jinja_template(template)
    compiled.globals["strftime_now"] = datetime.fromisoformat(date).strftime
