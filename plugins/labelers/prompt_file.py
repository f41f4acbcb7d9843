"""YAML files that say how a judge is asked: `system`, `user` and how its answer is read.

In `user`, a name in braces stands for a text, as `{conversation}` for the prompt.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Messages
from rlhfkit_plugins.labelers import is_file

FOLDER = Path(__file__).parent / "judge_prompts"
"""The package's own."""

_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}


@dataclass(frozen=True)
class PromptFile:
    """What all of them have."""

    name: str
    """The file's, without its suffix."""

    system: str
    user: str

    def filled(self, texts: Mapping[str, str]) -> Messages:
        """The question as a conversation; what stands in the texts themselves stays as it is."""
        places = re.compile(rf"\{{({'|'.join(texts)})\}}")
        user = places.sub(lambda place: texts[place[1]], self.user)
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": user}]


Prompt = TypeVar("Prompt", bound=PromptFile)
Parse = Callable[[str, PromptFile, Mapping[str, Any]], Prompt]
"""Makes a prompt of what its file holds; the first argument says where that is, for errors."""


def conversation(prompt: Messages) -> str:
    """A single message as it is, several with their speakers."""
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    turns = (f"{_SPEAKERS.get(turn['role'], turn['role'])}: {turn['content']}" for turn in prompt)
    return "\n\n".join(turns)


def load(
    option: str, names: Sequence[str], reads: str, places: Collection[str], parse: Parse[Prompt]
) -> list[Prompt]:
    """The prompts of a pool. Raises `UserError` for a file that holds none, and for two of one
    name: they are the judges' names.

    reads: the key of what says how an answer is read. places: names in braces that `user` needs.
    """
    found = [_load(option, name, reads, places, parse) for name in names]
    if not found or len({prompt.name for prompt in found}) < len(found):
        raise UserError(f"{option}={names}: name at least one, and none twice")
    return found


def _load(
    option: str, name: str, reads: str, places: Collection[str], parse: Parse[Prompt]
) -> Prompt:
    file = Path(name) if is_file(name) else FOLDER / f"{name}.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = [path.stem for path in FOLDER.glob("*.yaml")]
        raise UserError(f"{option}: no prompt '{name}'; {nearest(name, known)}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{option}: {file} cannot be read: {reason:.120}") from error
    where = f"{option}: {file}"
    texts = content if isinstance(content, dict) else {}
    return parse(where, _asked(where, file.stem, texts, reads, places), texts)


def _asked(
    where: str, name: str, texts: Mapping[str, Any], reads: str, places: Collection[str]
) -> PromptFile:
    unknown = [key for key in texts if key not in ("system", "user", reads)]
    if unknown:
        raise UserError(f"{where}: unknown key '{unknown[0]}'; it has system, user and {reads}")
    system, user = texts.get("system", ""), texts.get("user")
    if not isinstance(system, str) or not isinstance(user, str):
        raise UserError(f"{where}: 'user' must be a text, and 'system' where it is given")
    for place in places:
        if f"{{{place}}}" not in user:
            raise UserError(f"{where}: 'user' lacks {{{place}}}")
    return PromptFile(name, system, user)


def are_words(found: Collection[Any]) -> bool:
    """Whether these are texts and none is empty."""
    return all(isinstance(word, str) and word.strip() for word in found)


def require_apart(where: str, what: str, words: Collection[str]) -> None:
    """Raise `UserError` where one of the words would be found in another."""
    if any(one in other for one, other in permutations(words, 2)):
        raise UserError(f"{where}: a {what} is part of another: {[*words]}")
