"""What the options of `data=files` and `data=hub` have in common: splits, and names of columns."""

import json
from collections.abc import Mapping
from typing import Any

from rlhfkit.errors import UserError, nearest
from rlhfkit.types import SPLITS, Split


def chosen_splits(config: Any) -> dict[Split, Any]:
    """The splits that a config with one option a split sets, with their values; `preferences` are
    rankings."""
    given = {split: getattr(config, split) for split in SPLITS}
    given["rankings"] = given["rankings"] or config.preferences
    return {split: value for split, value in given.items() if value}


def check_splits(name: str, config: Any) -> None:
    """Raise `UserError` for values that name no data, and for names of columns nobody reads."""
    from rlhfkit.data.row_parsing import COLUMNS

    if config.rankings and config.preferences:
        raise UserError(f"{name}.preferences: is another name of {name}.rankings; give one of them")
    for option in (*SPLITS, "preferences"):
        value = getattr(config, option)
        parts = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(part, str) and part for part in parts):
            raise UserError(f"{name}.{option}={value}: must be a name, or a list of names")
    columns = {} if config.columns is None else config.columns
    if not isinstance(columns, dict) or not all(isinstance(part, str) for part in columns.values()):
        raise UserError(f"{name}.columns={columns}: must be names, as {{prompt: question}}")
    for column in columns:
        if column not in COLUMNS:
            raise UserError(f"{name}.columns: nothing reads '{column}'; {nearest(column, COLUMNS)}")


def renamed(rows: Any, columns: Mapping[str, str]) -> Any:
    """Rows with the names that stages read. columns: theirs, and the file's; those that a file
    does not have are left out: files of other splits may."""
    names = getattr(rows, "column_names", None) or (rows[0] if rows else ())
    found = {theirs: ours for ours, theirs in columns.items() if theirs in names}
    if not found:
        return rows
    if isinstance(rows, list):
        return [
            {name: value for name, value in row.items() if name not in (*found, *found.values())}
            | {ours: row[theirs] for theirs, ours in found.items()}
            for row in rows
        ]
    hidden = [ours for ours in found.values() if ours in names and ours not in found]
    return rows.remove_columns(hidden).rename_columns(found)


def columns_digest(columns: Mapping[str, str]) -> str:
    """What the names add to a fingerprint."""
    return f" {json.dumps(dict(sorted(columns.items())))}" if columns else ""
