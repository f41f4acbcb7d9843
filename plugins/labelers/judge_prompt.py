"""What a judge is asked: a YAML file with `system`, `user` and `verdicts`.

`{conversation}`, `{first}` and `{second}` in `user` stand for the prompt and the two completions.
`verdicts` says what the answer has for each outcome: `first`, `second` and, where ties are allowed,
`tie`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import yaml

from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Messages
from rlhfkit_plugins.labelers import is_file

FOLDER = Path(__file__).parent / "judge_prompts"
"""The package's own."""

_OUTCOMES: Mapping[str, int] = {"first": 1, "second": -1, "tie": 0}
_PLACES = ("conversation", "first", "second")
_PLACE = re.compile(r"\{(conversation|first|second)\}")
_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}


@dataclass(frozen=True)
class JudgePrompt:
    """One way to ask."""

    name: str
    """The file's, without its suffix."""

    system: str
    user: str
    verdicts: tuple[tuple[str, int], ...]
    """What an answer has, and what it means: 1 the first is better, -1 the second, 0 a tie."""

    def messages(self, prompt: Messages, first: str, second: str) -> Messages:
        """The question as a conversation."""
        texts = {"conversation": conversation(prompt), "first": first, "second": second}
        user = _PLACE.sub(lambda place: texts[place[1]], self.user)
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": user}]

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


def conversation(prompt: Messages) -> str:
    """A single message as it is, several with their speakers."""
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    turns = (f"{_SPEAKERS.get(turn['role'], turn['role'])}: {turn['content']}" for turn in prompt)
    return "\n\n".join(turns)


def file_of(name: str) -> Path:
    """Where a prompt stands: a path, or the name of one of the package's."""
    return Path(name) if is_file(name) else FOLDER / f"{name}.yaml"


def load_prompts(option: str, names: Sequence[str]) -> list[JudgePrompt]:
    """The prompts of a pool. Raises `UserError` for a file that holds none, and for two of one
    name: they are the judges' names."""
    found = [_load(option, name) for name in names]
    if not found or len({prompt.name for prompt in found}) < len(found):
        raise UserError(f"{option}={names}: name at least one, and none twice")
    return found


def _load(option: str, name: str) -> JudgePrompt:
    file = file_of(name)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = [path.stem for path in FOLDER.glob("*.yaml")]
        raise UserError(f"{option}: no prompt '{name}'; {nearest(name, known)}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{option}: {file} cannot be read: {reason:.120}") from error
    return _parse(f"{option}: {file}", file.stem, content)


def _parse(where: str, name: str, content: Any) -> JudgePrompt:
    texts = content if isinstance(content, dict) else {}
    unknown = [key for key in texts if key not in ("system", "user", "verdicts")]
    if unknown:
        raise UserError(f"{where}: unknown key '{unknown[0]}'; it has system, user and verdicts")
    system, user, verdicts = texts.get("system", ""), texts.get("user"), texts.get("verdicts")
    if not isinstance(system, str) or not isinstance(user, str):
        raise UserError(f"{where}: 'user' must be a text, and 'system' where it is given")
    for place in _PLACES:
        if f"{{{place}}}" not in user:
            raise UserError(f"{where}: 'user' lacks {{{place}}}")
    return JudgePrompt(name, system, user, _verdicts(where, verdicts))


def _verdicts(where: str, found: Any) -> tuple[tuple[str, int], ...]:
    texts = found if isinstance(found, dict) else {}
    known = {"first", "second"} <= texts.keys() <= _OUTCOMES.keys()
    words = [*texts.values()]
    if not known or not all(isinstance(word, str) and word.strip() for word in words):
        raise UserError(
            f"{where}: 'verdicts' must have the texts 'first' and 'second', and may have 'tie'"
        )
    if any(one in other for one, other in permutations(words, 2)):
        raise UserError(f"{where}: a verdict is part of another: {words}")
    return tuple((texts[key], outcome) for key, outcome in _OUTCOMES.items() if key in texts)
