"""Directories that a command makes on its way, and takes back when nothing comes of it."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def missing(path: Path) -> list[Path]:
    """The path and those above it that do not exist yet, the innermost first."""
    return [place for place in (path, *path.parents) if not place.exists()]


def remove_empty(places: Iterable[Path]) -> None:
    """Remove those that are empty."""
    for place in places:
        with suppress(OSError):  # something came of it, or it was never made
            place.rmdir()
