"""`data=hh_rlhf`: preference pairs written as whole dialogues, split into prompt and answers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlhfkit.console import count_of
from rlhfkit.context import Context
from rlhfkit.data.dialogues import parse_dialogue
from rlhfkit.data.messages import Unusable
from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Messages, Split
from rlhfkit_plugins.data import HhRlhfConfig
from rlhfkit_plugins.data.files import Row, digest, is_data_file, read_rows
from rlhfkit_plugins.data.hub import hub_fingerprint, load_from_hub, parse_option

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, the better one first."""

    prompt: Messages
    chosen: str
    rejected: str


_ROWS: dict[Split, Callable[[Pair], dict[str, Any]]] = {
    "rankings": lambda pair: {
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
    },
    "prompts": lambda pair: {"prompt": pair.prompt},
    "demonstrations": lambda pair: {"prompt": pair.prompt, "completion": pair.chosen},
}


class HhRlhfSource:
    """Rankings with K = 2, their prompts, and the chosen answers as demonstrations."""

    def __init__(self, config: HhRlhfConfig, context: Context) -> None:
        self._path, self._hub_split, self._context = config.path, config.split, context

    def splits(self) -> Sequence[Split]:
        """All that pairs of dialogues hold."""
        return tuple(_ROWS)

    def load(self, split: Split) -> "Dataset":
        """The usable pairs as rows of a split; the others are counted on the terminal.

        Raises `UserError` when the data cannot be read, lacks `chosen` or `rejected`, or has no
        usable pair.
        """
        from datasets import Dataset

        if split not in _ROWS:
            raise UserError(f"data hh_rlhf: has no {split}; {nearest(split, _ROWS)}")
        return Dataset.from_list([_ROWS[split](pair) for pair in self._pairs(split)])

    def fingerprint(self, split: Split) -> str:
        """The digest of a file or the hub's name; raises `UserError` for a missing file."""
        if is_data_file(self._path):
            return digest(self._path)
        return hub_fingerprint(self._hub_option())

    def _pairs(self, split: Split) -> list[Pair]:
        from rlhfkit.data.sources import (
            report_drops,  # here: it brings torch, the fingerprint needs none
        )

        rows = self._rows()
        pairs, drops = [], Counter[str]()
        for row in rows:
            try:
                pairs.append(parse_pair(row))
            except Unusable as error:
                drops[str(error)] += 1
        report_drops(self._context, f"hh_rlhf {split}", drops, len(rows))
        if not pairs:
            read = count_of(len(rows), "row")
            raise UserError(f"data hh_rlhf: no usable pair in {self._path} ({read} read)")
        return pairs

    def _hub_option(self) -> str:
        return f"{self._path}::{self._hub_split}"

    def _rows(self) -> Sequence[Row]:
        if is_data_file(self._path):
            rows: Any = read_rows(self._path)
        else:
            rows = load_from_hub(parse_option(self._hub_option()))
        columns = list(rows[0])
        for column in ("chosen", "rejected"):
            if column not in columns:
                near = nearest(column, columns)
                raise UserError(f"data hh_rlhf: {self._path} has no column '{column}'; {near}")
        found: Sequence[Row] = rows
        return found


def parse_pair(row: Mapping[str, Any]) -> Pair:
    """The prompt that both dialogues share and their last answers.

    Raises `Unusable` when one of them does not parse or the prompts differ.
    """
    chosen, rejected = parse_dialogue(row["chosen"]), parse_dialogue(row["rejected"])
    if chosen[:-1] != rejected[:-1]:
        raise Unusable("prompts differ")
    return Pair(chosen[:-1], chosen[-1]["content"], rejected[-1]["content"])
