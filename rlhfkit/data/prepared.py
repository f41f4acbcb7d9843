"""What the stage prepare wrote: `<part>/<kind>.jsonl`, read in place of the data sources."""

from pathlib import Path
from typing import Any

from rlhfkit.context import Context
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.types import Split

STAGE = "prepare"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
PARTS = (TRAIN, VALIDATION, TEST)
"""The parts of a split by user."""


_FILES: dict[Split, tuple[tuple[str, str], ...]] = {
    "demonstrations": ((TRAIN, "demonstrations"),),
    "prompts": ((TRAIN, "prompts"),),
    "eval_prompts": ((TEST, "prompts"),),
    # the stage label passes both on, and the reward model tells them apart by their prompts
    "rankings": ((TRAIN, "rankings"), (VALIDATION, "rankings")),
}


def exists(context: Context) -> bool:
    """Whether the stage has run; later stages then read its rows."""
    return context.run_dir.record(STAGE) is not None


def path(context: Context, part: str, kind: str) -> Path:
    """The file of a part and a kind; it is written where there are rows."""
    return context.run_dir.stage_dir(STAGE) / part / f"{kind}.jsonl"


def rows(context: Context, part: str, kind: str) -> list[dict[str, Any]]:
    """The rows of a part and a kind; none where the stage wrote none or did not run."""
    file = path(context, part, kind)
    return read_jsonl(file) if exists(context) and file.exists() else []


def training_rows(context: Context, split: Split) -> list[dict[str, Any]]:
    """What stands for a split of the data sources."""
    return [row for part, kind in _FILES[split] for row in rows(context, part, kind)]
