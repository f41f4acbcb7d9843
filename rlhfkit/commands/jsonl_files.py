"""JSON lines in and out of the commands that use a run's models."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlhfkit.errors import UserError

Row = dict[str, Any]


def read_input(path: Path) -> list[Row]:
    """The rows of a JSONL file; of another file a prompt a line, blank lines left out. Raises
    `UserError` that names the line at fault."""
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not any(line.strip() for line in lines):
        raise UserError(f"{path}: has no rows")
    if path.suffix.lower() not in (".jsonl", ".json", ".ndjson"):
        return [{"prompt": line} for line in lines if line.strip()]
    return [_row(path, place, line) for place, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, place: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{path}:{place}: no JSON ({error})") from error
    if not isinstance(row, dict):
        raise UserError(f"{path}:{place}: no row: columns by name are wanted")
    return row


def whole_rows(path: Path) -> list[Row]:
    """What an earlier command wrote; a last line that it was stopped in is cut off."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole, newline, rest = text.rpartition("\n")
    if rest:
        path.write_text(whole + newline, encoding="utf-8")
    return [_row(path, place, line) for place, line in enumerate(whole.splitlines(), 1)]


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Add rows, and be sure that they are on the disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
