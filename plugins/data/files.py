"""`data=files`: rows of local files, read into memory; what is wrong with a file is named by line.

`datasets` and `pyarrow` are imported where rows are read, so that a fingerprint stays cheap.
"""

import csv
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.types import SPLITS, Split
from rlhfkit_plugins.data import FilesConfig

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]

_LONGEST_CELL = 2**31 - 1
"""Characters; csv's own limit of 131072 is too short for the texts of a pretraining mix."""


class FileSource:
    """One file a split."""

    def __init__(self, config: FilesConfig, context: Context | None = None) -> None:
        self._paths = chosen_splits(config)

    def splits(self) -> Sequence[Split]:
        """The splits that were given a file."""
        return tuple(self._paths)

    def load(self, split: Split) -> "Dataset":
        """The rows of a split's file; raises as `read_dataset` does."""
        return read_dataset(self._path(split))

    def fingerprint(self, split: Split) -> str:
        """sha256 of the file; raises `UserError` when it is missing or empty."""
        return digest(self._path(split))

    def _path(self, split: Split) -> str:
        if split not in self._paths:
            raise UserError(f"data files: no file for {split}; set data.files.{split}")
        return self._paths[split]


def chosen_splits(config: Any) -> dict[Split, str]:
    """The splits that a config with one option a split sets, with their values."""
    return {split: getattr(config, split) for split in SPLITS if getattr(config, split)}


def read_dataset(path: str | Path) -> "Dataset":
    """The rows of a file as a data set in memory; keys that a row lacks are None.

    Raises `UserError` naming the file, and the line where one is at fault.
    """
    file = _existing(path)
    rows = _READERS[_suffix(file)](file)
    if not rows:
        raise UserError(f"{file}: has no rows")
    return dataset_of(str(file), rows)


def dataset_of(name: str, rows: list[Row]) -> "Dataset":
    """Rows as a data set in memory; raises `UserError` with the name for a value that no column can
    hold."""
    from datasets import Dataset

    columns = dict.fromkeys(key for row in rows for key in row)
    try:
        # use_json: a column may hold texts in one row and messages in the next
        made = Dataset.from_list([columns | row for row in rows], on_mixed_types="use_json")
        if "Json" in str(made.features):
            quoted = [_quoted(made.features, columns | row) for row in rows]
            made = Dataset.from_list(quoted, features=made.features)
        return made
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"{name}: has a value that no column can hold ({one_line(error)})"
        ) from error


def _quoted(feature: Any, value: Any) -> Any:
    """A value as `datasets` takes it for a mixed column: texts as JSON. It would read those that
    happen to be JSON, as `7` or `null`, for what they say."""
    from datasets import Json, List

    if value is None:
        return None
    if isinstance(feature, dict):
        return {name: _quoted(part, value.get(name)) for name, part in feature.items()}
    if isinstance(feature, List):
        return [_quoted(feature.feature, item) for item in value]
    return json.dumps(value) if isinstance(feature, Json) and isinstance(value, str) else value


def digest(path: str | Path) -> str:
    """sha256 of a file, read in pieces; raises `UserError` when it is missing or empty."""
    with _existing(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_data_file(path: str) -> bool:
    """Whether a path names a file that `read_dataset` is for; it need not exist."""
    return os.path.isfile(os.path.expanduser(path)) or path.lower().endswith(tuple(_READERS))


def one_line(error: BaseException) -> str:
    """The text of an error, its line breaks taken out; its name where it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _existing(path: str | Path) -> Path:
    """A readable file that is not empty; raises `UserError` for anything else."""
    # os.path's own answers: pathlib raises for homes of nobody and for names that are too long
    file = Path(os.path.expanduser(path))
    if os.path.isdir(file):
        raise UserError(f"{file}: is a folder; name a file, or give the folder to data=hub")
    if not os.path.exists(file):
        raise UserError(f"{file}: no such file; {_neighbours(file)}")
    if not os.access(file, os.R_OK):
        raise UserError(f"{file}: cannot be read (permission denied)")
    if file.stat().st_size == 0:
        raise UserError(f"{file}: is empty")
    return file


def _neighbours(file: Path) -> str:
    """What the user may have meant: data files of the same folder."""
    if not os.path.isdir(file.parent):
        return f"the folder {file.parent} does not exist"
    names = [other.name for other in file.parent.iterdir() if is_data_file(other.name)]
    # the ten closest: a folder may hold thousands of shards, and the error is one line
    return nearest(file.name, get_close_matches(file.name, names, n=10, cutoff=0.0))


def _suffix(file: Path) -> str:
    for suffix in _READERS:
        if file.name.lower().endswith(suffix):
            return suffix
    raise UserError(f"{file}: its name must end with one of {' '.join(_READERS)}")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file, unpacked when it is gzipped."""
    number = 1
    try:
        with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                # some editors begin a file with a byte-order mark
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}:{number}: not UTF-8 ({error.reason})") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{file}: not a whole gzip file ({error})") from error


def _jsonl(file: Path) -> list[Row]:
    return [_object(file, number, line) for number, line in _lines(file) if line.strip()]


def _object(file: Path, number: int, line: str) -> Row:
    """One line of JSON lines."""
    try:
        row = _parsed(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{file}:{number}: invalid JSON ({error.msg})") from error
    if not isinstance(row, dict):
        raise UserError(f'{file}:{number}: not a JSON object, as in {{"prompt": ...}}')
    return row


def _parsed(text: str) -> Any:
    """JSON; raises `JSONDecodeError` for whatever Python cannot hold of it, too."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deep", text, 0) from error
    except ValueError as error:  # Python's own limit, against numbers that take minutes
        raise json.JSONDecodeError("a number of too many digits", text, 0) from error


def _json(file: Path) -> list[Row]:
    """A whole file as one JSON list."""
    try:
        rows = _parsed("".join(line for _, line in _lines(file)))
    except json.JSONDecodeError as error:
        hint = "; with one object a line, name it .jsonl" if error.msg == "Extra data" else ""
        raise UserError(f"{file}:{error.lineno}: invalid JSON ({error.msg}){hint}") from error
    if not isinstance(rows, list):
        raise UserError(f'{file}: not a JSON list of objects, as in [{{"prompt": ...}}]')
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{file}: item {position} is not a JSON object")
    return rows


def _csv(file: Path) -> list[Row]:
    """Every cell is text, also `NA` and `7`: TRL's csv columns are all texts."""
    rows: list[Row] = []
    header: list[str] = []
    for number, cells in _records(file):
        if len(cells) > len(header) > 0:
            raise UserError(f"{file}:{number}: more cells than the header has")
        if header:
            rows.append(dict(zip_longest(header, cells)))
        header = header or _header(file, number, cells)
    return rows


def _header(file: Path, number: int, cells: list[str]) -> list[str]:
    """The names of the columns; those without one, as of an index, are nobody's."""
    for place, name in enumerate(cells):
        if name and name in cells[:place]:
            raise UserError(f"{file}:{number}: column '{name}' twice; rename or remove one")
    return cells


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The records of a csv file, blank ones left out, with the line each begins at."""
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader((line for _, line in _lines(file)), strict=True)
    number = 1
    try:
        for cells in reader:
            if cells:
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{file}:{number}: invalid csv ({error})") from error


def _parquet(file: Path) -> list[Row]:
    import pyarrow
    from datasets import Dataset
    from pyarrow.parquet import ParquetFile

    try:
        return list(Dataset(ParquetFile(file).read()))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file}: invalid parquet ({one_line(error)})") from error


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".jsonl.gz": _jsonl,
    ".json.gz": _json,
    ".csv.gz": _csv,
}
