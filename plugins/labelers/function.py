"""labeler=FILE.py:NAME: rankings of a function of the user's own.

def rank(prompts, completions) -> list[list[int]]:
    return [[1 + sorted(texts, key=len).index(text) for text in texts] for texts in completions]
"""

import inspect
from collections.abc import Sequence
from typing import Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.protocols import Labeler
from rlhfkit.types import Judgement, Messages
from rlhfkit_plugins.labelers import FunctionConfig

_TRIED: list[Messages] = [[{"role": "user", "content": "Name a fruit."}]] * 2
_TRIED_COMPLETIONS = [["An apple.", "No, thank you."]] * 2


def build(config: FunctionConfig, context: Context) -> Labeler:
    """The function as a labeler, or an object of the class."""
    code = config.user_code
    target = code.load()
    if not isinstance(target, type):
        return FunctionLabeler(config)
    with code.named_in_errors("labeler"):
        labeler: Labeler = target(**config.options)
    return labeler


class FunctionLabeler:
    """Gives a function the completions of prompts, and takes a rank of each, 1 for the best."""

    def __init__(self, config: FunctionConfig) -> None:
        self._code, self._options = config.user_code, config.options
        self.name = self._code.name

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """One judgement per prompt, under the function's name."""
        given: dict[str, Any] = {
            "prompts": list(prompts),
            "completions": [list(texts) for texts in completions],
        }
        function = self._code.load()
        parameters = inspect.signature(function).parameters
        if not any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
            given = {name: value for name, value in given.items() if name in parameters}
        with self._code.named_in_errors("labeler"):
            found = _plain(function(**given, **self._options))
        if not isinstance(found, list):
            raise UserError(f"labeler {self.name}: gave {found!r:.80}; a list of ranks is needed")
        return [[Judgement(_plain(ranks), self.name)] for ranks in found]

    def try_out(self) -> None:
        """Raise `UserError` unless it ranks two completions."""
        judgements_of(self, _TRIED, _TRIED_COMPLETIONS)


def _plain(values: Any) -> Any:
    """Arrays and tensors as lists."""
    values = values.tolist() if hasattr(values, "tolist") else values
    return list(values) if isinstance(values, tuple) else values
