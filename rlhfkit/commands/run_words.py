"""A run or a file in the place of options: `rlhfkit resume RUN`, `rlhfkit export RUN`, `rlhfkit run
my.yaml`."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from rlhfkit.commands.flags import flag
from rlhfkit.commands.options import known_options
from rlhfkit.component import GROUPS
from rlhfkit.config.docs import options_of
from rlhfkit.config.run import ExportConfig
from rlhfkit.config.usage import ChatConfig, GenerateConfig, ScoreConfig
from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.storage.find_run import find_run, names_run
from rlhfkit.storage.run_record import RunRecord, names_code

_MANY = {group.name: group.many for group in GROUPS}
_CHOICES = {*_MANY, "recipe", "model"}
"""What is chosen by name before its options are set."""

FLAGGED = {
    "export": ExportConfig,
    "chat": ChatConfig,
    "generate": GenerateConfig,
    "score": ScoreConfig,
}
"""Commands whose own options may be typed as flags, too."""
_NAME = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z]\w*", re.ASCII | re.IGNORECASE)
"""Texts that the grammar of the command line reads as such without quotes."""
_PLACES = ("export.to", "generate.to", "score.to", "reuse")
"""Options that name a place which need not be there."""


def expanded(command: str, words: list[str], plugins: Plugins) -> list[str]:
    """The words of a command with those of the run or file that it names in its place.

    A run's relative paths are read from where they were typed: that becomes the current directory.
    """
    words = _without_flags(command, words)
    first = words[0] if words else "="
    if _is_option(command, first):
        if command == "resume":
            raise UserError("resume: say which run, as in rlhfkit resume runs/quickstart")
        if not words and command != "run":
            raise UserError(
                f"{command}: say which run or recipe, as in rlhfkit {command} runs/quickstart or "
                f"rlhfkit {command} recipe=quickstart"
            )
        return words
    if first.endswith((".yaml", ".yml")):
        said = list(words_of_file(Path(first).expanduser(), plugins))
        _refuse_code(first, said, words[1:])
        return changed(said, words[1:])
    run = find_run(first, command)
    record = RunRecord.read(run, command)
    _refuse_code(str(run.root), record.words, words[1:])
    root = Path(os.path.abspath(run.root))
    typed = [_absolute(word) for word in words[1:]]
    folder = Path(record.folder)
    if folder.is_dir():
        os.chdir(folder)
        root = root.relative_to(folder) if root.is_relative_to(folder) else root
    else:
        console.print(f"{folder} is gone: relative paths are read from here", markup=False)
    return changed(record.words, [f"run_dir={root}", *typed])


def _is_option(command: str, word: str) -> bool:
    """Whether a first word is an option; a point of a sweep has `=` in its name, too."""
    if word.startswith(("-", "+", "~")):
        return True
    return "=" in word and (command == "run" or not names_run(word))


def _refuse_code(where: str, words: Sequence[str], typed: Sequence[str]) -> None:
    """A file or a run may come from someone else: code that it names runs only where the command
    line says so."""
    if any(word.lower() == "trust=true" for word in typed):
        return
    for word in words:
        key, _, value = word.lower().partition("=")
        trusts = key == "trust" or key.endswith("trust_remote_code")
        if names_code(word) or (trusts and value == "true"):
            raise UserError(
                f"{where}: {word} is code to run; if it is yours, or you have read it, add "
                f"trust=true"
            )


def changed(words: Sequence[str], typed: Sequence[str]) -> list[str]:
    """Words with what was typed behind them: the same option is said once, and options of a
    component that another takes the place of are left out."""
    keys = {_key(word) for word in typed if "=" in word}
    said = dict(word.split("=", 1) for word in words if "=" in word)
    replaced = {
        _key(word)
        for word in typed
        if _key(word) in _MANY and said.get(_key(word), "") != word.partition("=")[2]
    }
    kept = [
        word
        for word in words
        if _key(word) not in keys and _key(word).partition(".")[0] not in replaced
    ]
    return [*kept, *typed]


def words_of_file(file: Path, plugins: Plugins) -> Iterator[str]:
    """What a YAML file says as words of a command line: the form that `--cfg job` prints, in which
    a component may be named alone, as in `kl: fixed`. The run is called as the file unless told."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: no YAML: {' '.join(str(error).split())[:120]}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: a run's file has options by name, as in run_name: mine")
    if "defaults" in content:
        raise UserError(
            f"{file}: a recipe with `defaults:` is chosen as recipe={file.stem}, in a folder "
            f"`recipe` that --config-dir names; here say `recipe: NAME`, `kl: fixed` and so on"
        )
    known = _options(plugins)
    if not {"run_name", "recipe"} & set(content):
        yield f"run_name={file.stem}"
    for name, value in content.items():
        yield from _words(str(name), value, known)


def _words(name: str, value: Any, known: set[str]) -> Iterator[str]:
    if name in _CHOICES and isinstance(value, str | list):
        yield f"{name}={_text(value)}"
    elif _MANY.get(name) and isinstance(value, dict):
        yield f"{name}={_text(list(value))}"
        for component, options in value.items():
            yield from _parts(f"{name}.{component}", options, known)
    elif name in _MANY and isinstance(value, dict):
        if "name" not in value:
            raise UserError(f"{name}: say which, as in {name}: {{name: NAME, ...}}")
        yield f"{name}={value['name']}"
        yield from _parts(name, value, known)
    else:
        yield from _parts(name, value, known)


def _parts(name: str, value: Any, known: set[str]) -> Iterator[str]:
    if isinstance(value, dict) and name not in known:
        for key, part in value.items():
            if key != "name":  # which has been chosen
                yield from _parts(f"{name}.{key}", part, known)
    else:
        yield f"{name}={_text(value)}"


def _text(value: Any) -> str:
    """A value in the grammar of the command line, which takes JSON's lists and mappings."""
    if isinstance(value, list):
        return f"[{','.join(_item(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_item(item)}' for key, item in value.items())}}}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    return _item(text) if "${" in text else text  # which the grammar reads one deep


def _item(value: Any) -> str:
    if not isinstance(value, str):
        return _text(value)
    if _NAME.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _options(plugins: Plugins) -> set[str]:
    """Names of all options, whose values are not looked into."""
    found = set()
    for name, config in known_options(plugins).items():
        group, _, component = name.partition("=")
        place = "" if name == "run" else f"{group}."
        place += f"{component}." if component and _MANY[group] else ""
        found |= {f"{place}{option.name}" for option in options_of(config)}
    return found - set(_MANY) - {"data", "reward", "evaluator", "stage"}


def own_flags(command: str) -> list[str]:
    """The flags of a command that are none of Hydra's."""
    return (
        [flag(option.name) for option in options_of(FLAGGED[command])] if command in FLAGGED else []
    )


def _without_flags(command: str, words: list[str]) -> list[str]:
    """`export --push REPO --dry-run`, `generate --prompts FILE` and others as the options that they
    are: a flag of one of these commands is the option of its name."""
    if command not in FLAGGED:
        return words
    names = {option.name: option.default for option in options_of(FLAGGED[command])}
    found: list[str] = []
    waiting = ""
    for word in words:
        typed, equals, value = word.partition("=")
        name = typed.removeprefix("--").replace("-", "_")
        if waiting:
            found.append(f"{waiting}={word}")
            waiting = ""
        elif word.startswith("--") and name in names:
            option = f"{command}.{name}"
            if equals or names[name] == "false":
                found.append(f"{option}={value or 'true'}")
            else:
                waiting = option
        else:
            found.append(word)
    if waiting:
        raise UserError(f"--{waiting.partition('.')[2]}: what? as in {waiting}=...")
    return found


def _absolute(word: str) -> str:
    """A path of the directory that is about to be left."""
    key, equals, value = word.partition("=")
    names_one = key in _PLACES or (equals and value and Path(value).exists())
    return f"{key}={Path(value).absolute()}" if names_one and value[:1] not in "/~" else word


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")
