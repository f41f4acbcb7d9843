"""Words such as `--kind rank --until-done` as the fields of a dataclass, and what they mean."""

import types
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_args

from rich.padding import Padding

from rlhfkit.config.docs import options_of
from rlhfkit.console import console
from rlhfkit.errors import UserError, nearest

Options = TypeVar("Options")


def parse_flags(
    command: str, words: Sequence[str], kind: type[Options]
) -> tuple[list[str], Options]:
    """The words that are no flags, and the flags as a `kind`; `UserError` for others."""
    known = {flag(item.name): item for item in fields(kind)}  # type: ignore[arg-type]
    rest, values, waiting = list[str](), dict[str, Any](), list(words)
    while waiting:
        word, equals, value = waiting.pop(0).partition("=")
        if not word.startswith("-"):
            rest.append(word + equals + value)
            continue
        if word not in known:
            raise UserError(f"{command} {word}: no such flag; {nearest(word, known)}")
        field = known[word]
        if field.type is bool and not equals:
            values[field.name] = True
            continue
        if not equals and not waiting:
            raise UserError(f"{command} {word}: say which, as in {word} VALUE")
        text = value if equals else waiting.pop(0)
        if field.type == list[str]:  # with commas, or the flag again
            values.setdefault(field.name, []).extend(filter(None, text.split(",")))
            continue
        values[field.name] = _converted(f"{command} {word}", text, field.type)
    return rest, kind(**values)


def show_flags(kind: type) -> None:
    """Print every flag with what it means."""
    for option in options_of(kind):
        default = option.default.strip("[]").replace("'", "")
        shown = "" if default in ("", "null", "false") else f" {default}"
        console.print(f"  {flag(option.name)}{shown}", markup=False, highlight=False)
        console.print(Padding(option.doc, (0, 0, 0, 6)), markup=False, highlight=False)


def flag(name: str) -> str:
    """How the field of a dataclass is typed."""
    return f"--{name.replace('_', '-')}"


def _converted(word: str, text: str, kind: Any) -> Any:
    """The text as a value of the field's type."""
    if isinstance(kind, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{word}={text}: must be true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"{word} {text}: must be a number") from error
