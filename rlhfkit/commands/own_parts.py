"""Parts that are functions of the user's own: `reward=mine.py:score`, `'data=[files,my.py:rows]'`.

Each becomes a component of the function's name before Hydra composes, so that options stand under
it as under any other: `reward.score.threshold=3`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.default_element import GroupDefault
from hydra.plugins.config_source import ConfigResult

from rlhfkit.commands.hydra_store import store_component
from rlhfkit.commands.signature_options import config_of
from rlhfkit.component import GROUPS, Component, Group
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins, Provided, Provider
from rlhfkit.user_code import FUNCTION, UserCode, is_word_of_code, which_function

_GROUPS = {group.name: group for group in GROUPS}
_ITEM = re.compile(r"""'[^']*'|"[^"]*"|[^\[\],]+""")
"""What stands between the brackets and commas of a choice."""

_LITERALS = ("nan", "inf", "null", "true", "false")
"""What Hydra reads as a value, and not as a name."""


@dataclass(frozen=True)
class FileProvider(Provider):
    """A file in the place of a distribution: what a stage's record says of the code it ran."""

    def __str__(self) -> str:
        return f"{self.distribution}:{self.plugin}, sha256 {self.version}"


class OwnParts:
    """The components that were made of the user's code, in one command."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._names: dict[tuple[str, str], str] = {}
        """The component of a word in a group."""

    def in_arguments(self, arguments: Sequence[str]) -> list[str]:
        """The words of a command line with components' names in the place of code."""
        for group in _GROUPS:
            chosen = (value for name, value in map(_choice, arguments) if name == group)
            self._register(group, [word for value in chosen for word in _words_of_code(value)])
        return [self._renamed(argument) for argument in arguments]

    def in_defaults(self, file: str, found: ConfigResult, trusted: bool) -> None:
        """The same in the defaults list of a YAML file, which only `trust=true` lets name code."""
        for item in found.defaults_list or ():
            group = item.group.strip("/") if isinstance(item, GroupDefault) and item.group else ""
            if not isinstance(item, GroupDefault) or group not in _GROUPS:
                continue
            value = item.value
            listed = value if isinstance(value, list) else [value]
            words = [word for word in map(str, listed) if is_word_of_code(word)]
            if words and not trusted:
                raise UserError(
                    f"{file}: {group}={words[0]} is code, which runs only where the command line "
                    f"asks for it; read it, then add trust=true"
                )
            self._register(group, words)
            names = [self._names.get((group, str(word)), word) for word in listed]
            replaced: Any = names if isinstance(value, list) else names[0]
            item.value = replaced

    def _renamed(self, argument: str) -> str:
        group, value = _choice(argument)
        if group not in _GROUPS:
            return argument

        def name(match: re.Match[str]) -> str:
            return self._names.get((group, _unquoted(match.group())), match.group())

        return argument.removesuffix(value) + _ITEM.sub(name, value)

    def _register(self, group: str, words: Sequence[str]) -> None:
        """Make each word's code a component, unless it is one."""
        codes = [UserCode.find(word) for word in dict.fromkeys(words)]
        codes = [code for code in codes if (group, code.word) not in self._names]
        for code in codes:
            alone = [other.name for other in codes].count(code.name) == 1
            self._names[group, code.word] = self._add(_GROUPS[group], code, alone)

    def _add(self, group: Group, code: UserCode, alone: bool) -> str:
        known = self._plugins.components[group.name]
        if FUNCTION not in known:
            able = [name for name, found in self._plugins.components.items() if FUNCTION in found]
            raise UserError(
                f"{group.name}={code.word}: only {', '.join(able)} take code of a file; another "
                f"part is a plugin (docs/hooks.md)"
            )
        names = [code.name] if alone else []
        names += [re.sub(r"\W", "_", f"{code.file.stem}_{code.name}")]
        usable = (name for name in names if name not in known and name.lower() not in _LITERALS)
        name = next(usable, None)
        if name is None:
            raise UserError(
                f"{group.name}={code.word}: '{code.name}' is the name of another {group.name}; "
                f"rename the function"
            )
        if not name.isascii():
            raise UserError(f"{group.name}={code.word}: an option has letters from a to z; rename")
        base = known[FUNCTION].component
        component = Component(name, config_of(group, base.config, code), base.build)
        provider = FileProvider(code.name, code.file.name, code.sha256[:16])
        known[name] = Provided(component, provider)
        store_component(group, known[name])
        return name


def _choice(argument: str) -> tuple[str, str]:
    """The group and the value of `reward=...`; the group of another argument is no group's."""
    key, _, value = argument.partition("=")
    return key.lstrip("+"), value


def _words_of_code(value: str) -> Iterator[str]:
    for match in _ITEM.finditer(value):
        word = _unquoted(match.group())
        if is_word_of_code(word):
            yield word
        elif word.endswith(".py"):
            raise UserError(f"{word}: {which_function(word)}")


def _unquoted(item: str) -> str:
    return item.strip().strip("'\"")
