"""A user's function of TRL's reward-function signature, for reward= and evaluator=."""

import inspect
from collections.abc import Mapping
from functools import cached_property
from inspect import Parameter
from typing import Any

from rlhfkit.context import Context
from rlhfkit.data.prompt_columns import PromptColumns
from rlhfkit.data.text_format import plain_text
from rlhfkit.errors import UserError
from rlhfkit.types import Messages
from rlhfkit.user_code import UserCodeConfig

_TRIED = ["Yes.", "No, thank you."]
"""What a function is called with before anything is trained."""


class TrlFunction:
    """Gives a function what its parameters name, and all there is where it takes `**kwargs`.

    Completions are texts, and prompts messages. Annotations tell what a function wants instead:
    TRL's own have `completions: list[list[dict[str, str]]]`, and get messages; `prompts: list[str]`
    are texts.
    """

    def __init__(self, group: str, config: UserCodeConfig, context: Context) -> None:
        self._group, self._config, self._context = group, config, context
        self._code = config.user_code

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: Any
    ) -> list[float]:
        given: dict[str, Any] = {"prompts": prompts, "completions": completions} | columns
        given = {name: given[name] for name in self._config.gives if name in given}
        with self._code.named_in_errors(self._group):
            function, options = self._function
            parameters = inspect.signature(function).parameters
            wanted = {name: item for name, item in parameters.items() if name not in options}
            if not _catches_all(parameters):
                given = {name: value for name, value in given.items() if name in wanted}
            given |= self._columns_for(wanted, given, prompts)
            given |= {
                name: _as_annotated(wanted[name], given[name])
                for name in wanted.keys() & given.keys()
            }
            values: list[float] = function(**given, **options)
        return values

    def try_out(self) -> Any:
        """What the function finds for two made-up completions of the data's first prompts.

        Raises `UserError` when it takes a column that the data lacks, and what the function raises.
        """
        columns, needed = self._columns, self._needed_columns()
        for split, names in columns.names.items():
            if split != "demonstrations" and needed - names:
                missing = sorted(needed - names)[0]
                raise UserError(
                    f"{self._group}={self._code.word}: takes '{missing}', and {split} have no such "
                    f"column ({', '.join(sorted(names)) or 'none'}); with a default it is an option"
                )
        prompts = (columns.examples * 2)[:2] or [[{"role": "user", "content": "Hello?"}]] * 2
        ids = {"prompt_ids": [[1], [1]], "completion_ids": [[1, 2], [1, 2]]}
        return self(prompts, _TRIED, **ids, finished=[True, True])

    @cached_property
    def _function(self) -> tuple[Any, Mapping[str, Any]]:
        """What is called, and with which options; an object of a class has them already."""
        target, options = self._code.load(), self._config.options
        return (target(**options), {}) if inspect.isclass(target) else (target, options)

    @cached_property
    def _columns(self) -> PromptColumns:
        return PromptColumns(self._context)

    def _needed_columns(self) -> set[str]:
        function, options = self._function
        return {
            name
            for name, item in inspect.signature(function).parameters.items()
            if item.default is Parameter.empty
            and item.kind not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
            and name not in {*self._config.gives, *options}
        }

    def _columns_for(
        self, wanted: Mapping[str, Parameter], given: Mapping[str, Any], prompts: list[Messages]
    ) -> dict[str, list[Any]]:
        """The data's columns that the function names; all of them for `**kwargs`."""
        names = self._needed_columns()
        if _catches_all(wanted):
            names |= set[str]().union(*self._columns.names.values())
        names -= {*given, *self._config.options}
        return {name: self._columns.of(name, prompts) for name in sorted(names)}


def _catches_all(parameters: Mapping[str, Parameter]) -> bool:
    return any(item.kind is Parameter.VAR_KEYWORD for item in parameters.values())


def _as_annotated(parameter: Parameter, values: list[Any]) -> list[Any]:
    """Texts and messages in the form that the annotation of `prompts` or `completions` names."""
    annotation = str(parameter.annotation)
    if parameter.name == "completions" and ("dict" in annotation or "Message" in annotation):
        return [[{"role": "assistant", "content": text}] for text in values]
    if parameter.name == "prompts" and "list[str]" in annotation.lower():
        return [plain_text(prompt) for prompt in values]
    return values
