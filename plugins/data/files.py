"""`data=files`: rows of local files, read into memory; what is wrong with one is told by line."""

import csv
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from glob import glob
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.types import Split
from rlhfkit_plugins.data import FilesConfig
from rlhfkit_plugins.data.options import chosen_splits, columns_digest, renamed

Row = dict[str, Any]

_LONGEST_CELL = 2**31 - 1
"""Characters; csv's own limit of 131072 is too short for the texts of a pretraining mix."""


class FileSource:
    """One file a split, or several."""

    def __init__(self, config: FilesConfig, context: Context | None = None) -> None:
        self._paths, self._columns = chosen_splits(config), dict(config.columns or {})

    def splits(self) -> Sequence[Split]:
        """The splits that were given a file."""
        return tuple(self._paths)

    def load(self, split: Split) -> list[Row]:
        """The rows of a split's files; raises as `read_rows` does."""
        rows = [row for path in self._files(split) for row in _for_split(split, path)]
        found: list[Row] = renamed(filled(rows), self._columns)
        return found

    def fingerprint(self, split: Split) -> str:
        """sha256 of the file, or of several ones' digests; raises `UserError` when one is missing
        or empty."""
        digests = [digest(path) for path in self._files(split)]
        whole = digests[0] if len(digests) == 1 else _sha256("\n".join(digests))
        return whole + columns_digest(self._columns)

    def _files(self, split: Split) -> list[str]:
        if split not in self._paths:
            raise UserError(f"data files: no file for {split}; set data.files.{split}")
        given = self._paths[split]
        named = [given] if isinstance(given, str) else given
        return [path for name in named for path in _matching(name)]


def _matching(path: str) -> list[str]:
    """A file, or those that a pattern as `rows/*.jsonl` names, in their order."""
    if not any(sign in path for sign in "*?[") or os.path.exists(os.path.expanduser(path)):
        return [path]
    if found := sorted(filter(os.path.isfile, glob(os.path.expanduser(path), recursive=True))):
        return found
    raise UserError(f"{path}: no file of this pattern")


def _for_split(split: Split, path: str) -> list[Row]:
    """A file's rows; a line of a text file is a text, or a prompt."""
    rows = read_rows(path)
    if path.lower().endswith(_TEXT) and split != "pretraining":
        return [{"prompt": row["text"]} for row in rows]
    return rows


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file; keys that a row lacks are None.

    Raises `UserError` naming the file, and the line where one is at fault.
    """
    file = _existing(path)
    rows = _READERS[_suffix(file)](file)
    if not rows:
        raise UserError(f"{file}: has no rows")
    return filled(rows)


def filled(rows: list[Row]) -> list[Row]:
    """Rows that all have the same columns, those of several files too."""
    columns = dict.fromkeys(key for row in rows for key in row)
    return [columns | row for row in rows]


def digest(path: str | Path) -> str:
    """sha256 of a file, read in pieces; raises `UserError` when it is missing or empty."""
    with _existing(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_data_file(path: str) -> bool:
    """Whether a path names a file that `read_rows` is for; it need not exist."""
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
    ends = tuple(_READERS)
    names = [other.name for other in file.parent.iterdir() if other.name.lower().endswith(ends)]
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


def _text(file: Path) -> list[Row]:
    lines = (line.rstrip("\r\n") for _, line in _lines(file))
    return [{"text": line} for line in lines if line.strip()]


def _parquet(file: Path) -> list[Row]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(file).read()
        mixed = [field.name for field in table.schema if str(field.type) == "extension<arrow.json>"]
        rows: list[Row] = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file}: invalid parquet ({one_line(error)})") from error
    for row in rows:
        row.update({name: json.loads(row[name]) for name in mixed if row[name] is not None})
    return rows


_TEXT = (".txt", ".txt.gz")

_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".jsonl.gz": _jsonl,
    ".json.gz": _json,
    ".csv.gz": _csv,
    ".txt": _text,
    ".txt.gz": _text,
}
