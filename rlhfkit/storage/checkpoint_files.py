"""Checkpoints on disk: each a directory that is whole, or recognised as damaged.

A checkpoint is written aside with the digests of its files, synced, and renamed; so a process that
is killed meanwhile, or a power cut, leaves the one before.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from rlhfkit.console import console

DIGESTS = "digests.json"
_ASIDE = "unfinished"


def write_checkpoint(folder: Path, name: str, write: Callable[[Path], object], limit: int) -> None:
    """`write` files into a new checkpoint; of those that stand there then, the last `limit` stay.

    name: sorts behind those of earlier checkpoints, and starts with step_.
    """
    aside = folder / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    (aside / DIGESTS).write_text(json.dumps(_digests(aside)), encoding="utf-8")
    for path in (*aside.rglob("*"), aside):
        _sync(path)
    _remove(folder / name)
    aside.rename(folder / name)
    _sync(folder)
    for old in _checkpoints(folder)[:-limit]:
        shutil.rmtree(old)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are put aside, and a line says so."""
    for path in reversed(_checkpoints(folder)):
        damage = _damage(path)
        if damage is None:
            return path
        damaged = path.with_name(f"damaged_{path.name}")
        _remove(damaged)
        path.rename(damaged)
        console.print(
            f"checkpoint {path}: {damage}; the one before is used, if there is one",
            markup=False,
            soft_wrap=True,
        )
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step_*") if path.is_dir())


def _remove(path: Path) -> None:
    """A directory, or whatever stands in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint."""
    if not (path / DIGESTS).is_file():  # a pipe would be waited for
        return f"cannot be read ({DIGESTS} is missing)"
    try:
        wanted = json.loads((path / DIGESTS).read_text(encoding="utf-8"))
        found = _digests(path)
    except (OSError, ValueError, RecursionError) as error:
        return f"cannot be read ({error})"
    if not isinstance(wanted, dict) or not wanted:
        return f"{DIGESTS} was altered"
    wrong = [name for name in wanted.keys() | found if wanted.get(name) != found.get(name)]
    return f"{min(wrong)} is missing or was altered" if wrong else None


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path in the folder."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != DIGESTS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            digests[str(path.relative_to(folder))] = digest.hexdigest()
    return digests


def _sync(path: Path) -> None:
    """Onto the disk: a file's content, a directory's names."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
