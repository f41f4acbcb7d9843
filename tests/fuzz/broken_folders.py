"""Local folders that are no data set, and paths that lead nowhere."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.broken_files import GOOD


@dataclass(frozen=True)
class Folder:
    """What is made of an empty folder, the option that names it, and what the line says."""

    id: str
    make: Callable[[Path], object]
    says: str = "cannot be loaded"
    option: str = "{folder}"


def _with(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _good(folder: Path) -> None:
    (folder / "train.jsonl").write_bytes(GOOD[".jsonl"])


def _nested_link(folder: Path) -> None:
    (folder / "again").symlink_to(folder)


FOLDERS = [
    Folder("empty", lambda folder: None),
    Folder("a link to itself", _nested_link),
    Folder("only hidden files", _with(".rows.jsonl", b'{"prompt": "a"}\n')),
    Folder("only a read me", _with("README.md", b"# nothing\n")),
    Folder("broken yaml in the read me", _with("README.md", b"---\nconfigs: [\n---\n")),
    Folder("a script", _with("rows.py", b"raise SystemExit\n")),
    Folder("an empty file", _with("train.jsonl", b"")),
    Folder("broken JSON", _with("train.jsonl", b'{"prompt": \n')),
    Folder("a list of texts", _with("train.json", b'["a", "b"]'), "no column 'prompt'"),
    Folder("not UTF-8", _with("train.csv", b"prompt\n\xff\xfe\n")),
    Folder("a cut parquet", _with("train.parquet", GOOD[".parquet"][:-9])),
    Folder("zeros for parquet", _with("train.parquet", bytes(64))),
    Folder("a cut gzip", _with("train.jsonl.gz", GOOD[".jsonl.gz"][:-9])),
    Folder("another split", _good, option="{folder}::tset"),
    Folder("another config", _good, option="{folder}:hard:train"),
    Folder("a slice of words", _good, option="{folder}::train[a:b]"),
    Folder("a slice of no rows", _good, "corresponds to no data", "{folder}::train[:0]"),
    Folder("another column", _with("train.jsonl", b'{"promt": "a"}\n'), "no column 'prompt'"),
    Folder("a folder that is not there", _good, "no such folder", "{folder}/none"),
    Folder("no name", _good, "give it as owner/name", ":easy:train"),
    Folder("a name with blanks", _good, "data set 'owner / name'", "owner / name"),
    Folder("a name of three parts", _good, "cannot be loaded", "owner/name/more"),
    Folder("a hub out of reach", _good, "data set 'owner/name'", "owner/name"),
]  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A path given as a file, and what the line says; `make` puts something there."""

    id: str
    path: str
    says: str
    make: Callable[[Path], object] = lambda path: None


def _loop(path: Path) -> None:
    path.symlink_to(path)


PLACES = [
    Place("nothing there", "rows.jsonl", "rows.jsonl: no such file; choices: none"),
    Place("a folder", "rows.jsonl", "rows.jsonl: is a folder", Path.mkdir),
    Place("a pipe", "rows.jsonl", "rows.jsonl: is empty", os.mkfifo),
    Place("a link to itself", "rows.jsonl", "rows.jsonl: no such file", _loop),
    Place("a link to nothing", "rows.jsonl", "no such file", lambda path: path.symlink_to("no")),
    Place("a file as a folder", "a/rows.jsonl", "no such file", lambda p: p.parent.write_text("")),
    Place("a home of nobody", "~nobody-at-all/rows.jsonl", "~nobody-at-all/rows.jsonl: no such"),
    Place("a null byte", "rows\0.jsonl", "no such file"),
    Place("a name too long", "r" * 300 + ".jsonl", ".jsonl: no such file"),
    Place("a path too long", "r/" * 3000 + "rows.jsonl", "rows.jsonl: no such file"),
]
