"""The options of a user's function or class: those of its parameters that have a default."""

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields, make_dataclass
from inspect import Parameter
from typing import Any, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlhfkit.component import Group
from rlhfkit.errors import UserError
from rlhfkit.user_code import UserCode, UserCodeConfig

_KINDS: dict[type, Any] = {bool: bool, int: int | float, float: float, str: str}
"""Types of options without annotation, by their defaults': a whole number may become another."""


def config_of(group: Group, base: type[UserCodeConfig], code: UserCode) -> type:
    """The component's dataclass; raises `UserError` for code that the group cannot call."""
    target = code.load()
    _require_methods(code, base, target)
    parameters = _parameters(code, target)
    gives = () if inspect.isclass(target) else base.gives
    _require_known(code, parameters, gives, base.takes_columns and not inspect.isclass(target))
    if inspect.isclass(target) and "__call__" in base.methods:
        called = dict(list(_parameters(code, target.__call__).items())[1:])  # without self
        _require_known(code, called, base.gives, base.takes_columns)
    options = _options(target, parameters, gives)
    taken = {"name", *(item.name for kind in (group.extra, base) for item in fields(kind))}
    for name in options.keys() & taken:
        raise UserError(f"{code.word}: '{name}' is an option of every {group.name}; rename it")
    made = make_dataclass(
        code.name,
        [(name, kind, default) for name, (kind, default) in options.items()],
        bases=(base,),
        namespace={"code": code, "option_names": tuple(options)},
        kw_only=True,
    )
    made.__doc__ = inspect.getdoc(target) or code.word
    return made


def _require_methods(code: UserCode, base: type[UserCodeConfig], target: Any) -> None:
    if not inspect.isclass(target):
        if inspect.iscoroutinefunction(target):
            raise UserError(f"{code.word}: is async; name a function that returns what it finds")
        return
    for method in base.methods:
        if not any(method in vars(kind) for kind in target.__mro__):  # every class can be called
            needs = ", ".join(base.methods)
            raise UserError(f"{code.word}: the class has no {method}(); it needs {needs}")


def _parameters(code: UserCode, target: Callable[..., Any]) -> Mapping[str, Parameter]:
    try:
        return inspect.signature(target).parameters
    except (ValueError, TypeError) as error:
        raise UserError(f"{code.word}: Python does not know its arguments") from error


def _require_known(
    code: UserCode, parameters: Mapping[str, Parameter], gives: tuple[str, ...], columns: bool
) -> None:
    """Arguments are given by name, and each has a name or a default."""
    catches_all = any(item.kind is Parameter.VAR_KEYWORD for item in parameters.values())
    if gives and gives[0] not in parameters and not catches_all:
        shown = ", ".join(parameters)
        raise UserError(f"{code.word}: takes ({shown}); it must take '{gives[0]}', by this name")
    for name, item in parameters.items():
        if item.kind is Parameter.POSITIONAL_ONLY:
            raise UserError(f"{code.word}: takes '{name}' by position only; arguments have names")
        may_vary = item.kind in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
        known = name in gives or columns or may_vary
        if item.default is Parameter.empty and not known:
            given = f"given are {', '.join(gives)}; " if gives else ""
            raise UserError(
                f"{code.word}: nobody gives its '{name}'; {given}with a default it is an option"
            )


def _options(
    target: Any, parameters: Mapping[str, Parameter], gives: tuple[str, ...]
) -> dict[str, tuple[Any, Any]]:
    """Type and default by name; what Hydra cannot hold keeps its default."""
    hints = _hints(target)
    found = {}
    for name, item in parameters.items():
        if item.default is Parameter.empty or name in gives:
            continue
        for kind in (hints.get(name, _KINDS.get(type(item.default), Any)), Any):
            default = _default(item.default)
            if _holds(kind, default):
                found[name] = (kind, default)
                break
    return found


def _hints(target: Any) -> dict[str, Any]:
    called = target.__init__ if inspect.isclass(target) else target
    try:
        return get_type_hints(called)
    except Exception:  # whatever names the annotations use, which need not exist
        return {}


def _default(value: Any) -> Any:
    made: Field[Any] = field(default_factory=lambda: copy.deepcopy(value))
    return made if isinstance(value, list | dict) else value


def _holds(kind: Any, default: Any) -> bool:
    """Whether an option can be of this type."""
    try:
        OmegaConf.structured(make_dataclass("Option", [("option", kind, default)]))
    except (OmegaConfBaseException, ValueError, TypeError):
        return False
    return True
