"""A function or class of the user's own, which the command line names: `FILE.py:NAME`, or
`package.module:NAME` for what can be imported."""

import ast
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, ClassVar

from rlhfkit.errors import UserError, nearest

FUNCTION = "function"
"""The component, one a group that takes such code, which makes of it what the group needs."""


@dataclass(frozen=True)
class UserCode:
    """Where the code stands. It is loaded where it is asked for: other processes get this."""

    word: str
    """As it was typed: `mine.py:score`."""

    file: Path
    name: str

    module: str | None
    """What is imported where no file was named."""

    sha256: str
    """Digest of the file."""

    @classmethod
    def find(cls, word: str) -> "UserCode":
        """The code that `FILE.py:NAME` or `package.module:NAME` names; nothing of it runs, apart
        from the packages that a module is in. Raises `UserError` where there is no such file."""
        place, _, name = word.rpartition(":")
        is_file = place.endswith(".py")
        file = _existing(word, place) if is_file else _of_module(word, place)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return cls(word, file, name, None if is_file else place, digest)

    def load(self) -> Any:
        """The function or class; the file runs once in a process.

        Raises `UserError` with file and line for one that cannot be run, and for a name that is not
        in it.
        """
        try:
            module = import_module(self.module) if self.module else self._run_file()
        except Exception as error:
            raise UserError(f"{self.word}: {self._place(error)}: {_short(error)}") from error
        if not hasattr(module, self.name):
            public = [name for name in dir(module) if not name.startswith("_")]
            raise UserError(
                f"{self.word}: nothing of this name there; {nearest(self.name, public)}"
            )
        found = getattr(module, self.name)
        if not callable(found):
            kind = type(found).__name__
            raise UserError(f"{self.word}: is of type {kind}; name a function or a class")
        return found

    @contextmanager
    def named_in_errors(self, group: str) -> Iterator[None]:
        """Add to an error of the code where it was raised; its traceback stays."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            error.add_note(f"(raised by {group}={self.word}, {self._place(error)})")
            raise

    def _run_file(self) -> ModuleType:
        key = hashlib.sha256(f"{self.file} {self.sha256}".encode()).hexdigest()[:12]
        name = f"{self.file.stem}_{key}"
        if name not in sys.modules:
            if str(self.file.parent) not in sys.path:  # at the end: it hides nothing installed
                sys.path.append(str(self.file.parent))
            spec = spec_from_file_location(name, self.file)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module = module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]

    def _place(self, error: Exception) -> str:
        """File and line: the last of the code's own that the error passed."""
        if isinstance(error, SyntaxError) and error.filename:
            return f"{error.filename}:{error.lineno}"
        lines = [
            line
            for frame, line in walk_tb(error.__traceback__)
            if frame.f_code.co_filename == str(self.file)
        ]
        return f"{self.file}:{lines[-1]}" if lines else str(self.file)


@dataclass
class UserCodeConfig:
    """What components of such code have in common; each group says what its functions get."""

    code: ClassVar[UserCode | None] = None
    """None for the component itself, which nobody can choose."""

    option_names: ClassVar[tuple[str, ...]] = ()
    """The code's own options: parameters that have a default."""

    gives: ClassVar[tuple[str, ...]] = ()
    """Arguments that a function of this group may take, the one that it must take first."""

    takes_columns: ClassVar[bool] = False
    """Whether a function may also take columns of the data, by their names."""

    methods: ClassVar[tuple[str, ...]] = ()
    """What a class must have in place of a function."""

    @property
    def user_code(self) -> UserCode:
        """The code; `UserError` for the component itself, which has none."""
        if self.code is None:
            raise UserError(f"'{FUNCTION}' has no code: name your own, as in reward=mine.py:score")
        return self.code

    @property
    def options(self) -> dict[str, Any]:
        """The values of the code's own options."""
        return {name: getattr(self, name) for name in self.option_names}


def is_word_of_code(word: str) -> bool:
    """Whether a word names code: `mine.py:score`, `~/a b/mine.py:Score`, `trl.rewards:f`."""
    place, colon, name = word.rpartition(":")
    modules = place.split(".")
    is_place = place.endswith(".py") or all(part.isidentifier() for part in modules)
    return bool(colon) and is_place and name.isidentifier()


def which_function(place: str) -> str:
    """A phrase that ends an error line: how to name what is in a file, which does not run."""
    file = Path(os.path.expanduser(place))
    try:
        body = ast.parse(file.read_bytes()).body if file.is_file() else []
    except (SyntaxError, ValueError):
        body = []
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [item.name for item in body if isinstance(item, kinds) and item.name[0] != "_"]
    shown = " or ".join(f"{place}:{name}" for name in names[:5]) or f"{place}:NAME"
    return f"say which function of the file, as in {shown}"


def _existing(word: str, place: str) -> Path:
    file = Path(os.path.abspath(os.path.expanduser(place)))  # from the directory of the command
    if file.is_file():
        return file
    if not file.parent.is_dir():
        raise UserError(f"{word}: no such file; the folder {file.parent} does not exist")
    names = [other.name for other in file.parent.glob("*.py")]
    raise UserError(f"{word}: no such file; {nearest(file.name, names)}")


def _of_module(word: str, place: str) -> Path:
    """The file of a module, of the current directory or installed."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        spec = find_spec(place)
    except (ImportError, ValueError) as error:
        raise UserError(f"{word}: {error}") from error
    if spec is None or not spec.has_location or spec.origin is None:
        raise UserError(f"{word}: no module '{place}', here or installed; a file ends in .py")
    return Path(spec.origin)


def _short(error: Exception) -> str:
    text = " ".join(str(getattr(error, "msg", None) or error).split())
    return f"{type(error).__name__}: {text}"[:300]
