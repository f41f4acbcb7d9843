"""What the data says of a prompt in columns of its own, as `solution`: reward functions read it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rlhfkit.context import Context
from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.data.schemas import schema_of
from rlhfkit.data.sources import columns_of
from rlhfkit.types import Messages, Split

_SPLITS: tuple[Split, ...] = ("prompts", "demonstrations", "eval_prompts")
_READ_BY_STAGES = {"prompt", "messages", "completion"}


class PromptColumns:
    """The further columns of all prompts; of rows with the same prompt the first one's."""

    def __init__(self, context: Context) -> None:
        self.examples: list[Messages] = []
        """Two prompts of the data, or fewer."""

        self.names: dict[str, set[str]] = {}
        """The columns of each split."""

        self._rows: dict[str, Mapping[str, Any]] = {}
        sources = context.build_all("data").items()
        for split in _SPLITS:
            for name, source in sources:
                if split in source.splits():
                    self._add(name, split, source.load(split))

    def of(self, name: str, prompts: Sequence[Messages]) -> list[Any]:
        """A column's value for each prompt, None where the data has none."""
        return [self._rows.get(_key(prompt), {}).get(name) for prompt in prompts]

    def _add(self, source: str, split: Split, rows: Any) -> None:
        schema = schema_of(source, split, columns_of(rows))
        rows = schema.gather(rows) if schema.gather else rows
        self.names[split] = names = set(columns_of(rows)) - _READ_BY_STAGES
        for row in rows if names or len(self.examples) < 2 else ():
            try:
                item = CONVERT[split](schema(row))
            except Unusable:
                continue
            prompt = getattr(item, "prompt", item)
            self._rows.setdefault(_key(prompt), {name: row.get(name) for name in names})
            if len(self.examples) < 2:
                self.examples.append(prompt)


def _key(prompt: Messages) -> str:
    return json.dumps(prompt, sort_keys=True)
