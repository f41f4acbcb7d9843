"""`rlhfkit new plugin NAME`: a distribution of one's own, with a component of each chosen kind.

The files are templates in plugin_template/; what they make passes its own tests, ruff and mypy.
"""

import keyword
import re
import shlex
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rlhfkit.commands.flags import parse_flags
from rlhfkit.component import GROUPS
from rlhfkit.console import console
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins

KINDS = tuple(group.name for group in GROUPS)
_LONGEST = 40
"""Letters of a name, with which no line of the files is too long."""

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*", re.IGNORECASE | re.ASCII)
_environment = Environment(
    loader=PackageLoader("rlhfkit.commands", "plugin_template"),
    autoescape=False,  # the files are no HTML
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class NewOptions:
    """`rlhfkit new plugin NAME`"""

    kind: list[str] = field(default_factory=lambda: ["reward"])
    """What it adds, with commas between: data, loader, sampler, labeler, reward, optimizer, kl,
    evaluator; or all."""


@dataclass(frozen=True)
class Names:
    """What a plugin is called, in each of its places."""

    distribution: str
    package: str
    name: str
    """Of its components and of its entry point."""


def make_new(arguments: list[str], plugins: Plugins) -> None:
    """Write the files, and say what to do with them."""
    words, options = parse_flags("new", arguments, NewOptions)
    if words and words[0] != "plugin":
        raise UserError(
            f"new {words[0]}: only plugins are made, as in rlhfkit new plugin my-reward"
        )
    if len(words) != 2:
        raise UserError(
            "new plugin: say one name, as in rlhfkit new plugin my-reward --kind reward,kl"
        )
    names, kinds = names_of(words[1]), _kinds(options.kind)
    _require_free(names, kinds, plugins)
    folder = Path(names.distribution)
    _write(folder, files_of(names, kinds))
    place = shlex.quote(f"./{folder}[dev]")
    say = f"{folder}: made; try it with pip install -e {place} && (cd {folder} && pytest)"
    console.print(say, markup=False, soft_wrap=True)


def names_of(word: str) -> Names:
    """What a distribution of this name holds; `UserError` for what cannot be one."""
    package = re.sub(r"[-_.]+", "_", word).lower()
    name = package.removeprefix("rlhfkit_")
    if not _NAME.fullmatch(word):
        fault = "a distribution's name has letters, digits and single -, _ or . between them"
    elif len(word) > _LONGEST:
        fault = f"has {len(word)} letters; at most {_LONGEST} are taken"
    elif not name.isidentifier() or not package.isidentifier():
        fault = "its module would begin with a digit"
    elif keyword.iskeyword(name) or keyword.issoftkeyword(name) or keyword.iskeyword(package):
        fault = f"'{name}' is a keyword of Python"
    else:
        return Names(word, package, name)
    raise UserError(f"new plugin {word!r:.60}: {fault}; as in rlhfkit-brevity")


def files_of(names: Names, kinds: list[str]) -> dict[str, str]:
    """The text of every file by its path in the distribution's folder."""
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        ".github/workflows/test.yml": "test.yml",
        f"{names.package}/__init__.py": "__init__.py",
        **{f"{names.package}/{kind}.py": f"{kind}.py" for kind in kinds},
        **{f"tests/test_{kind}.py": f"test_{kind}.py" for kind in kinds},
    }
    values: dict[str, Any] = {
        **vars(names),
        "kinds": kinds,
        "choices": ", ".join(f"{kind}={names.name}" for kind in kinds),
        "rlhfkit_version": version("rlhfkit"),
    }
    made = {
        path: _environment.get_template(f"{template}.jinja").render(values)
        for path, template in templates.items()
    }
    return made | {f"{names.package}/py.typed": ""}


def _kinds(words: list[str]) -> list[str]:
    """The chosen kinds, in the order a run meets them."""
    for word in words:
        if word not in KINDS and word != "all":
            raise UserError(f"new --kind {word}: {nearest(word, [*KINDS, 'all'])}")
    if not words:
        raise UserError(f"new --kind: say which; {nearest('', [*KINDS, 'all'])}")
    return [kind for kind in KINDS if kind in words or "all" in words]


def _require_free(names: Names, kinds: list[str], plugins: Plugins) -> None:
    """`UserError` for a name that something else has."""
    word = names.distribution
    for kind in kinds:
        if names.name in plugins.components[kind]:
            owner = plugins.components[kind][names.name].provider
            raise UserError(f"new plugin {word}: {kind}={names.name} is taken by {owner}")
    if names.name in plugins.providers:
        owner = plugins.providers[names.name]
        raise UserError(f"new plugin {word}: {owner} is installed; choose another name")
    if names.package in sys.stdlib_module_names or find_spec(names.package) is not None:
        raise UserError(
            f"new plugin {word}: there is a module '{names.package}' already; choose another "
            f"name, as rlhfkit-{names.name}"
        )


def _write(folder: Path, files: dict[str, str]) -> None:
    """A new folder; one that is there is left alone."""
    try:
        folder.mkdir()
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise UserError(f"new plugin {folder}: is there already; choose another name") from error
    except OSError as error:
        raise UserError(
            f"new plugin {folder}: cannot be written ({error.strerror or error})"
        ) from error
