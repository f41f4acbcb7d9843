"""Words for what goes wrong between the command line and the first stage: always one line."""

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from rlhfkit.errors import Mistakes, UserError, nearest
from rlhfkit.user_code import which_function

LAUNCHER_EXTRAS = {
    "joblib": "joblib",
    "ray": "ray",
    "ray_aws": "ray",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
}
"""Hydra's launchers by the extra that installs them."""


def one_line(error: BaseException) -> str | None:
    """The error as one line when it is a mistake of the user's or of their machine, else None;
    mistakes that were found together are a line each."""
    if isinstance(error, Mistakes):
        return "\n".join(map(_first_line, error.lines))
    if isinstance(error, UserError):
        return _first_line(str(error))
    if type(error).__module__.startswith(("hydra", "omegaconf")):
        return _hydra(error)
    if isinstance(error, OSError):  # before any stage: the run directory cannot be made
        return _disk(error) or _elsewhere(error)
    if isinstance(error.__cause__, OSError) and (said := _disk(error.__cause__)):
        return said
    for inner in _chain(error):
        # safetensors, torch and datasets have exceptions of their own for a full disk
        if any(words in str(inner) for words in _FULL):
            return _no_space(getattr(inner, "filename", None) or "while writing a model")
    if any(_is_full_device(each) for each in (error, error.__cause__)):  # with nothing to halve
        return (
            "out of memory for models and optimizer states: try loader=qlora, "
            "loader.offload_idle=true with loader=full, or paged_adamw_8bit as optim"
        )
    return None


def _is_full_device(error: BaseException | None) -> bool:
    if "torch" not in sys.modules:  # nothing has computed yet, and importing it takes seconds
        return False
    from rlhfkit.models.batch_size import is_out_of_memory

    return isinstance(error, RuntimeError) and is_out_of_memory(error)


@contextmanager
def composing(words: Iterable[str]) -> Iterator[None]:
    """Compose the options of a command line in here: whatever Hydra, OmegaConf and YAML raise for
    files and words that they can make nothing of, and do not call an error of theirs, is a
    `UserError`."""
    from yaml import YAMLError

    try:
        yield
    except (YAMLError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
            RecursionError) as error:  # fmt: skip
        if one_line(error) is not None:
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        given = " ".join(words)
        raise UserError(f"the options cannot be composed: {reason}; given: {given}") from error


_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of: libraries wrap the one that says why."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_space(where: str) -> str:
    return f"no disk space left ({where}); finished stages and checkpoints are kept"


def _disk(error: OSError) -> str | None:
    """Full and read-only disks; other system errors inside a stage may well be ours."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return _no_space(error.filename or "while writing")
    if error.errno in (errno.EROFS, errno.EACCES):
        return _elsewhere(error)
    return None


def _elsewhere(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}; choose another place with run_dir=..."


def _hydra(error: BaseException) -> str:
    from hydra.errors import MissingConfigException, OverrideParseException

    text = str(error)
    cause = error.__cause__
    if isinstance(error, MissingConfigException):
        return _missing_option(error, text)
    if isinstance(error, OverrideParseException):
        return f"cannot read '{error.override}': {_first_line(str(cause or text))}"
    if "runtime.choices.recipe" in text:
        return (
            "run_name: without a recipe a run needs a name, as in run_name=mine; with one it has "
            "the recipe's, as in recipe=quickstart"
        )
    if several := re.match(r"Ambiguous value for argument '([^=]+)=(.*)'\n", text):
        return _several(*several.groups())
    return _override(text, cause)


def _several(key: str, value: str) -> str:
    """Values with commas between are a sweep, or one text with commas in it."""
    as_text = quote(f'{key}="{value}"')
    is_text = any(character.isalpha() for character in value)
    otherwise = f"; one text with commas in it is typed {as_text}" if is_text else ""
    return f"{key}={value}: add --multirun for a run with each of the values{otherwise}"


def _missing_option(error: Any, text: str) -> str:
    """A wrong choice of a config group: Hydra knows the choices."""
    wanted = error.missing_cfg_file or ""
    if "/" not in wanted:
        return _first_line(text)
    group, _, name = wanted.rpartition("/")
    if group == "hydra/launcher" and name in LAUNCHER_EXTRAS:
        return (
            f"hydra/launcher={name} comes with a plugin of Hydra's that is not installed: "
            f"pip install 'rlhfkit[{LAUNCHER_EXTRAS[name]}]'"
        )
    if Path(f"{name}.py").is_file():
        return f"{group}={name}: no such choice; {which_function(f'{name}.py')}"
    return f"{group}={name}: no such choice; {nearest(name, error.options or _stored(group))}"


def _stored(group: str) -> list[str]:
    """The components of a group; Hydra does not list them when several were asked for."""
    from hydra.core.config_store import ConfigStore

    try:
        return [name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)]
    except OSError:  # recipes are files
        return []


def _override(text: str, cause: BaseException | None) -> str:
    """A wrong option or a value of the wrong type."""
    detail = str(cause) if cause is not None else text
    key = re.search(r"full_key: ([\w.\[\]/]+)", detail + "\n" + text)
    unknown = re.search(r"Key '([^']+)' (?:is )?not in '?(\w+)'?", detail)
    if unknown and key:
        return f"{key.group(1)}: no such option; {_siblings(key.group(1), cause)}"
    if key:
        return f"{key.group(1)}: {_first_line(detail)}"
    return _first_line(text if cause is None else f"{_first_line(text)} {_first_line(detail)}")


def _siblings(key: str, cause: BaseException | None) -> str:
    """The nearest options beside a wrong one."""
    parent = getattr(cause, "parent_node", None)
    known = [str(name) for name in parent] if parent is not None else []
    return nearest(key.rpartition(".")[2], known)


def _first_line(text: str) -> str:
    """And the second, where the first announces it."""
    lines = text.strip().splitlines()
    return " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
