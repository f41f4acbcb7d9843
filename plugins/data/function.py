"""data=FILE.py:NAME: rows of a function of the user's own, by split.

def rows() -> dict[str, list[dict]]:
    return {"prompts": [{"prompt": "Name a fruit."}], "demonstrations": [...]}
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.protocols import DataSource
from rlhfkit.types import SPLITS, Split
from rlhfkit_plugins.data import FunctionConfig
from rlhfkit_plugins.data.files import filled

_FOUND: dict[tuple[Any, str], dict[Split, list[Any]]] = {}
"""What functions gave in this process: every stage asks anew."""


def build(config: FunctionConfig, context: Context) -> DataSource:
    """The function as a data source, or an object of the class."""
    code = config.user_code
    target = code.load()
    if not isinstance(target, type):
        return FunctionSource(config)
    with code.named_in_errors("data"):
        source: DataSource = target(**config.options)
    return source


class FunctionSource:
    """Calls the function once in a process; its rows are kept in memory."""

    def __init__(self, config: FunctionConfig) -> None:
        self._code, self._options = config.user_code, config.options

    def splits(self) -> Sequence[Split]:
        """The splits that the function gave rows of."""
        return tuple(self._rows)

    def load(self, split: Split) -> list[dict[str, Any]]:
        """The rows of a split."""
        return filled(self._rows[split])

    def fingerprint(self, split: Split) -> str:
        """sha256 of the rows, whatever the function has them from."""
        digest = hashlib.sha256()
        for row in self._rows[split]:
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
        return digest.hexdigest()

    @cached_property
    def _rows(self) -> dict[Split, list[Any]]:
        key = (self._code, json.dumps(self._options, sort_keys=True, default=str))
        if key not in _FOUND:
            with self._code.named_in_errors("data"):
                _FOUND[key] = self._checked(self._code.load()(**self._options))
        return _FOUND[key]

    def _checked(self, found: Any) -> dict[Split, list[Any]]:
        word = self._code.word
        if not isinstance(found, Mapping) or not found:
            raise UserError(
                f"data={word}: gave {found!r:.80}; rows by split are needed, as "
                f'{{"prompts": [...]}}'
            )
        for split in found:
            if split not in SPLITS:
                raise UserError(f"data={word}: no split '{split}'; {nearest(str(split), SPLITS)}")
        return {split: self._checked_rows(split, rows) for split, rows in found.items()}

    def _checked_rows(self, split: str, rows: Any) -> list[Any]:
        try:
            listed = [dict(row) for row in rows]
        except (TypeError, ValueError) as error:
            raise UserError(
                f"data={self._code.word}: {split} are {rows!r:.80}; a list of dicts is needed"
            ) from error
        if not listed:
            raise UserError(f"data={self._code.word}: {split} has no rows")
        return listed
