"""The words of a command line, as a shell hands them over, in the grammar that Hydra reads.

Hydra's values are a language of their own, in which `=`, `~`, `,`, brackets and letters outside
ASCII mean something or nothing. Where the schema says that an option is a text, what stands behind
its first `=` is that text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from shlex import quote
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString
from hydra.errors import HydraException

from rlhfkit.commands.help import choices, meant
from rlhfkit.commands.options import known_options
from rlhfkit.component import GROUPS
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins

_FLAGS = get_args_parser()._option_string_actions
_SWEEPS = ("--multirun", "-m", "hydra.mode=MULTIRUN")
_FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag|str|int|float|bool)\(.*\)")


def as_hydra_reads(
    words: list[str], plugins: Plugins, own_flags: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """The options among the words, with values quoted where they have to be, and Hydra's flags.

    own_flags: of the command beside Hydra's, for the message about another.

    Raises `UserError` that shows what to type for a word that means nothing here.
    """
    return _Words(words, plugins, own_flags).sorted()


class _Words:
    def __init__(self, words: list[str], plugins: Plugins, own_flags: Sequence[str]) -> None:
        self._words = words
        self._own_flags = own_flags
        self._kinds = dict(_kinds(plugins))
        self._recipes = choices(plugins)["recipe"]
        self._parser = OverridesParser.create()
        self._sweeps = any(word in _SWEEPS for word in words)

    def sorted(self) -> tuple[list[str], list[str]]:
        options: list[str] = []
        flags: list[str] = []
        is_value = False
        for place, word in enumerate(self._words):
            if is_value or word.startswith("-"):
                is_value = not is_value and self._takes_value(place)
                flags.append(word)
            elif "=" in word:
                options.append(self._option(place))
            elif word.startswith("~"):  # Hydra's sign for leaving a choice out
                options.append(word)
            else:
                raise self._no_option(place)
        return options, flags

    def _option(self, place: int) -> str:
        word = self._words[place]
        if self._is_entry(word.partition("=")[0]):
            word = f"++{word}"  # Hydra's sign for an entry that may be new
        key, _, value = word.partition("=")
        kind, found = self._kind(key.lstrip("+")), self._read(word)
        is_cut = isinstance(found, HydraException) and self._joined(place) is not None
        if kind == "text":
            return f"{key}={self._text(value, found)}"
        if (kind == "texts" or (kind == "choices" and not self._sweeps)) and not is_cut:
            return f"{key}={self._texts(value, found)}"
        if not isinstance(found, HydraException):
            return word
        if kind == "any" and not value.startswith(("[", "{")):
            return f"{key}={self._text(value, found)}"
        raise self._unreadable(place)

    def _kind(self, key: str) -> str:
        return self._kinds.get(key) or self._kinds.get(f"{key.rpartition('.')[0]}.*", "")

    def _is_entry(self, key: str) -> bool:
        """Whether a key is that of a mapping whose keys are the user's."""
        return key not in self._kinds and f"{key.rpartition('.')[0]}.*" in self._kinds

    def _text(self, value: str, found: Any) -> str:
        """A text option's value; a number is no other text than the one that was typed."""
        if isinstance(found, HydraException) and not _FUNCTION.fullmatch(value):
            several = self._sweeps and "," in value
            return ",".join(map(_quoted, value.split(","))) if several else _quoted(value)
        return _quoted(value) if isinstance(found, bool | int | float | list | dict) else value

    def _texts(self, value: str, found: Any) -> str:
        """A list's value, for which one text, or several with commas between, will do."""
        if isinstance(found, HydraException) and not _FUNCTION.fullmatch(value):
            inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
            return f"[{','.join(_quoted(item.strip()) for item in inner.split(','))}]"
        items = found.list if isinstance(found, ChoiceSweep) and found.simple_form else [found]
        is_list = all(isinstance(item, str | QuotedString) for item in items)
        return f"[{value}]" if value and is_list else value

    def _read(self, word: str) -> Any:
        """The value that Hydra reads, or its complaint."""
        try:
            return self._parser.parse_override(word)._value
        except HydraException as error:
            return error

    def _unreadable(self, place: int) -> UserError:
        word = self._words[place]
        if (whole := self._joined(place)) is not None:
            return UserError(f"{word}: a blank ends an argument; quote it whole: {quote(whole)}")
        key, _, value = word.partition("=")
        reason = str(self._read(word)).strip().splitlines()[0]
        typed = quote(f"{key}={_quoted(value)}")
        known = self._kind(key.lstrip("+")) == "other"  # a number or a choice, and no text
        hint = "" if known else f"; as a text it is typed {typed}"
        return UserError(f"cannot read '{word}': {reason}{hint}")

    def _joined(self, place: int) -> str | None:
        """The words from here to the one that closes the bracket."""
        for end in range(place + 1, len(self._words) + 1):
            whole = " ".join(self._words[place:end])
            if sum(map(whole.count, "[{(")) == sum(map(whole.count, "]})")):
                return whole if end > place + 1 else None
        return None

    def _takes_value(self, place: int) -> bool:
        """Whether the next word is a flag's value; only Hydra's own flags are flags."""
        flag, equals, value = self._words[place].partition("=")
        if flag in _FLAGS:
            return _FLAGS[flag].nargs is None and not equals
        key = flag.lstrip("-")
        key = key if key in self._kinds else key.replace("-", "_")
        following = self._words[place + 1 : place + 2]
        if not equals and following and not following[0].startswith("-"):
            value = following[0]
        if key in self._kinds:
            raise UserError(
                f"{self._words[place]}: options have no dashes; type {quote(f'{key}={value}')}"
            )
        flags = self._own_flags or [name for name in _FLAGS if name.startswith("--")]
        raise UserError(
            f"{flag}: no such flag, and options are typed key=value; {nearest(flag, flags)}"
        )

    def _no_option(self, place: int) -> UserError:
        word = self._words[place]
        if (hint := meant(word, self._recipes)) is not None:
            return UserError(f"'{word}': options are typed key=value; {hint}")
        if place and "=" in (before := self._words[place - 1]):
            both = quote(f"{before} {word}")
            return UserError(
                f"'{word}': options are typed key=value; if it belongs to what stands before it, "
                f"quote the two: {both}"
            )
        return UserError(f"'{word}': options are typed key=value, as in recipe=quickstart")


def _quoted(text: str) -> str:
    mark = Quote.single if '"' in text and "'" not in text else Quote.double
    return QuotedString(text, mark).with_quotes()


def _kinds(plugins: Plugins) -> Iterator[tuple[str, str]]:
    """What every option is, by its full name: a text, several texts, a choice of components,
    anything, or other; `name.*` are the entries of a mapping."""
    many = {group.name: group.many for group in GROUPS}
    for name, config in known_options(plugins).items():
        group, _, component = name.partition("=")
        prefix = "" if name == "run" else f"{group}."
        if many.get(group) and component:
            prefix += f"{component}."
        for item in fields(config):
            kind = str(item.type)
            if item.type is str or kind == "str | None":
                yield f"{prefix}{item.name}", "text"
            elif kind.startswith("list[str]"):
                yield f"{prefix}{item.name}", "texts"
            elif kind.startswith("dict[str, str"):
                yield f"{prefix}{item.name}.*", "text"
            else:
                yield f"{prefix}{item.name}", "any" if item.type is Any else "other"
    for name, is_many in many.items():
        yield name, "choices" if is_many else "other"
    yield from ((name, "other") for name in ("recipe", "model"))
