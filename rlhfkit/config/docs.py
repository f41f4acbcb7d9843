"""The sentence that stands below each option in its dataclass, for users to read."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any

REQUIRED = "???"
"""omegaconf's MISSING, which takes longer to import than all the rest of a command's help."""


@dataclass(frozen=True)
class Option:
    """One option of a dataclass."""

    name: str
    default: str
    """As it is typed on a command line; `required` where there is none."""

    doc: str
    """Empty where nobody wrote one."""


def options_of(config: type) -> list[Option]:
    """Every option of a dataclass, the inherited ones first; parts that are dataclasses of their
    own are left out."""
    docs = _docs(config)
    return [
        Option(item.name, _default(item), docs.get(item.name, ""))
        for item in fields(config)
        if not is_dataclass(item.default_factory)
    ]


def parts_of(config: type) -> Iterator[tuple[str, type]]:
    """The dataclasses within a dataclass, by name."""
    for item in fields(config):
        if isinstance(item.default_factory, type) and is_dataclass(item.default_factory):
            yield item.name, item.default_factory


def _docs(config: type) -> dict[str, str]:
    """A subclass may say anew what an option means, and need not."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        if "__dataclass_fields__" in vars(kind):
            found |= _own_docs(kind)
    return found


def _own_docs(kind: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # made while the program runs, as the schema of a component
        return {}
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    return {
        option.target.id: " ".join(text.value.value.split())
        for option, text in pairwise(body)
        if isinstance(option, ast.AnnAssign)
        and isinstance(option.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _default(item: Field[Any]) -> str:
    value = item.default_factory() if item.default_factory is not MISSING else item.default
    if value is MISSING or value == REQUIRED:
        return "required"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
