"""`data=quickstart`: the rows packaged with rlhfkit; `data/README.md` says where from."""

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Split
from rlhfkit_plugins.quickstart import QuickstartConfig

if TYPE_CHECKING:
    from datasets import Dataset

_FILES: dict[Split, tuple[str, str | None]] = {
    "demonstrations": ("demonstrations.jsonl", None),
    "prompts": ("prompts.jsonl", "train"),
    "eval_prompts": ("prompts.jsonl", "eval"),
    "pretraining": ("pretraining.jsonl", None),
}
"""The file of each split, and which value of its `split` key the rows must have."""


class QuickstartSource:
    """Demonstrations, prompts, held-out prompts and texts; prompts keep their `use_case`."""

    def __init__(self, config: QuickstartConfig, context: Context | None = None) -> None:
        """The data has no options."""

    def splits(self) -> Sequence[Split]:
        """All but rankings, which the run makes itself."""
        return tuple(_FILES)

    def load(self, split: Split) -> "Dataset":
        """The rows of a split, in memory; raises `UserError` for rankings."""
        from datasets import Dataset

        name, part = _file(split)
        rows = [row for row in _read(_resource(name)) if row.pop("split", None) == part]
        return Dataset.from_list(rows)

    def fingerprint(self, split: Split) -> str:
        """sha256 of the split's file; raises `UserError` for rankings."""
        return hashlib.sha256(_resource(_file(split)[0]).read_bytes()).hexdigest()


def _file(split: Split) -> tuple[str, str | None]:
    if split not in _FILES:
        raise UserError(f"data quickstart: has no {split}; {nearest(split, _FILES)}")
    return _FILES[split]


def _resource(name: str) -> Traversable:
    return files("rlhfkit_plugins.quickstart") / "data" / name


def _read(resource: Traversable) -> list[dict[str, Any]]:
    with resource.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
