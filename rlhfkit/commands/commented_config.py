"""`--cfg job` with a comment above every option: the sentence that stands below it in its code."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import yaml

from rlhfkit.commands.options import known_options
from rlhfkit.component import GROUPS
from rlhfkit.config.docs import options_of
from rlhfkit.plugin_manager import Plugins

_KEY = re.compile(r"( *)(\w+):")
_WIDTH = 100


@contextmanager
def commented(arguments: list[str], plugins: Plugins) -> Iterator[None]:
    """Within it, the configuration that Hydra prints is printed with comments."""
    is_part = {"-p", "--package"} & set(arguments)
    if not re.search(r"(^|\s)(--cfg|-c)[= ]?job\b", " ".join(arguments)) or is_part:
        yield
        return
    printed = StringIO()
    with redirect_stdout(printed):
        yield
    print("\n".join(_commented(printed.getvalue(), plugins)))


def _commented(text: str, plugins: Plugins) -> Iterator[str]:
    docs = _docs(yaml.safe_load(text) or {}, plugins)
    keys: list[tuple[int, str]] = []
    for line in text.rstrip().splitlines():
        if found := _KEY.match(line):
            indent = len(found[1])
            keys = [*(key for key in keys if key[0] < indent), (indent, found[2])]
            doc = docs.get(".".join(name for _, name in keys), "")
            for part in textwrap.wrap(doc, _WIDTH - indent - 2):
                yield f"{found[1]}# {part}"
        yield line


def _docs(config: Mapping[str, Any], plugins: Plugins) -> dict[str, str]:
    """The sentence of every option of a composed run, by its dotted name."""
    known = known_options(plugins)
    places = {name: kind for name, kind in known.items() if "=" not in name and name != "run"}
    for group in GROUPS:
        chosen = config.get(group.name) or {}
        for place, entry in (
            {f"{group.name}.{key}": value for key, value in chosen.items()}
            if group.many
            else {group.name: chosen}
        ).items():
            places[place] = known[f"{group.name}={entry['name']}"]
    docs = {option.name: option.doc for option in options_of(known["run"])}
    for place, kind in places.items():
        docs |= {f"{place}.{option.name}": option.doc for option in options_of(kind)}
    return docs
