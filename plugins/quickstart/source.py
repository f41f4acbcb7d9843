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

_SPLITS: tuple[Split, ...] = ("demonstrations", "prompts", "eval_prompts", "pretraining")
"""A file each."""


class QuickstartSource:
    """Demonstrations, prompts, held-out prompts and texts; each prompt with its `use_case`, `task`,
    `rubric` and, where it is a question, its `accepted` answers."""

    def __init__(self, config: QuickstartConfig, context: Context | None = None) -> None:
        """The data has no options."""

    def splits(self) -> Sequence[Split]:
        """All but rankings, which the run makes itself."""
        return _SPLITS

    def load(self, split: Split) -> "Dataset":
        """The rows of a split, in memory; raises `UserError` for rankings."""
        from datasets import Dataset

        return Dataset.from_list(_read(_resource(split)))

    def fingerprint(self, split: Split) -> str:
        """sha256 of the split's file; raises `UserError` for rankings."""
        return hashlib.sha256(_resource(split).read_bytes()).hexdigest()


def _resource(split: Split) -> Traversable:
    if split not in _SPLITS:
        raise UserError(f"data quickstart: has no {split}; {nearest(split, _SPLITS)}")
    return files("rlhfkit_plugins.quickstart") / "data" / f"{split}.jsonl"


def _read(resource: Traversable) -> list[dict[str, Any]]:
    with resource.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
