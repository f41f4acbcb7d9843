"""How a judge is asked to compare: a YAML file with `system`, `user` and `verdicts`.

`{conversation}`, `{first}` and `{second}` in `user` stand for the prompt and the two completions.
`verdicts` says what the answer has for each outcome: `first`, `second` and, where ties are allowed,
`tie`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlhfkit.errors import UserError
from rlhfkit.types import Messages
from rlhfkit_plugins.labelers.prompt_file import (
    PromptFile,
    are_words,
    conversation,
    load,
    require_apart,
)

_OUTCOMES: Mapping[str, int] = {"first": 1, "second": -1, "tie": 0}


@dataclass(frozen=True)
class JudgePrompt(PromptFile):
    """One way to ask which of two completions is better."""

    verdicts: tuple[tuple[str, int], ...]
    """What an answer has, and what it means: 1 the first is better, -1 the second, 0 a tie."""

    def messages(self, prompt: Messages, first: str, second: str) -> Messages:
        """The question as a conversation."""
        texts = {"conversation": conversation(prompt), "first": first, "second": second}
        return self.filled(texts)

    def outcome(self, answer: str) -> int | None:
        """What the last verdict of an answer means; None for an answer without one."""
        places = [(answer.rfind(text), outcome) for text, outcome in self.verdicts]
        place, outcome = max(places)
        return outcome if place >= 0 else None

    @property
    def reminder(self) -> str:
        """What is said to a judge whose answer has no verdict."""
        *others, last = (text for text, _ in self.verdicts)
        return f"Reply with {', '.join(others)} or {last} and with nothing else."


def load_prompts(option: str, names: Sequence[str]) -> list[JudgePrompt]:
    """The prompts of a pool. Raises `UserError` for a file that holds none, and for two of one
    name."""
    return load(option, names, "verdicts", ("conversation", "first", "second"), _parse)


def _parse(where: str, asked: PromptFile, content: Mapping[str, Any]) -> JudgePrompt:
    verdicts = content.get("verdicts")
    texts = verdicts if isinstance(verdicts, dict) else {}
    known = {"first", "second"} <= texts.keys() <= _OUTCOMES.keys()
    if not known or not are_words(texts.values()):
        raise UserError(
            f"{where}: 'verdicts' must have the texts 'first' and 'second', and may have 'tie'"
        )
    require_apart(where, "verdict", texts.values())
    found = tuple((texts[key], outcome) for key, outcome in _OUTCOMES.items() if key in texts)
    return JudgePrompt(**vars(asked), verdicts=found)
