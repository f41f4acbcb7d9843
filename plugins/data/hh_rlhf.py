"""`data=hh_rlhf`: preference pairs written as whole dialogues, split into prompt and answers."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Messages, Split
from rlhfkit_plugins.data import HhRlhfConfig
from rlhfkit_plugins.data.files import digest, is_data_file, read_dataset
from rlhfkit_plugins.data.hub import hub_fingerprint, load_from_hub, parse_option

if TYPE_CHECKING:
    from datasets import Dataset

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


class Unparsable(ValueError):
    """A pair that is left out; the text says why and is counted."""


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
            except Unparsable as error:
                drops[str(error)] += 1
        report_drops(self._context, f"hh_rlhf {split}", drops, len(rows))
        if not pairs:
            raise UserError(f"data hh_rlhf: no usable pair in {self._path} ({len(rows)} rows read)")
        return pairs

    def _hub_option(self) -> str:
        return f"{self._path}::{self._hub_split}"

    def _rows(self) -> "Dataset":
        if is_data_file(self._path):
            rows = read_dataset(self._path)
        else:
            rows = load_from_hub(parse_option(self._hub_option()))
        for column in ("chosen", "rejected"):
            if column not in rows.column_names:
                near = nearest(column, rows.column_names)
                raise UserError(f"data hh_rlhf: {self._path} has no column '{column}'; {near}")
        return rows


def parse_pair(row: Mapping[str, Any]) -> Pair:
    """The prompt that both dialogues share and their last answers.

    Raises `Unparsable` when one of them does not parse or the prompts differ.
    """
    chosen, rejected = parse_dialogue(row["chosen"]), parse_dialogue(row["rejected"])
    if chosen[:-1] != rejected[:-1]:
        raise Unparsable("prompts differ")
    return Pair(chosen[:-1], chosen[-1]["content"], rejected[-1]["content"])


def parse_dialogue(text: Any) -> Messages:
    r"""Messages of "\n\nHuman: ...\n\nAssistant: ...", outer blanks of the turns taken off.

    Raises `Unparsable` unless the turns alternate from Human to Assistant and none is empty.
    """
    if not isinstance(text, str):
        raise Unparsable("dialogue is not text")
    before, *parts = _TURN.split("\n\n" + text.strip())
    speakers, contents = parts[::2], [content.strip() for content in parts[1::2]]
    if before or speakers != ["Human", "Assistant"] * (len(speakers) // 2):
        raise Unparsable("turns do not alternate from Human to Assistant")
    if not all(contents):
        raise Unparsable("empty turn")
    return [
        {"role": _ROLES[speaker], "content": content}
        for speaker, content in zip(speakers, contents, strict=True)
    ]
