"""The terminal: one console, one look for progress in every stage."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from rlhfkit.distributed.processes import is_main

console = Console(highlight=False, quiet=not is_main())

PLAIN_INTERVAL_S = 15.0
"""Seconds between the lines written in place of a bar when output is not a terminal."""


def quiet_libraries() -> None:
    """Stages show their own progress; what libraries say beside it is for their developers. Each
    of these can be set otherwise in the environment."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def replace_unprintable() -> None:
    """Print `?` for what the terminal's encoding does not have: nothing fails for a letter."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


class ProgressBar:
    """A bar with the numbers that matter; plain lines now and then where there is no terminal."""

    def __init__(self, progress: Progress, title: str, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, completed=done, numbers="")
        self._title, self._total, self._done = title, total, done
        self._last_line = self._began = time.monotonic()
        self._tokens = 0

    def count_tokens(self, count: int) -> None:
        """Tokens that were written; with the next step the bar shows how many a second."""
        self._tokens += count

    def advance(self, steps: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        """Move on by some steps and show numbers by short name."""
        self._done += steps
        speed = {}
        if self._tokens:
            speed = {"tokens/s": self._tokens / max(time.monotonic() - self._began, 1e-3)}
        if numbers is not None or speed:
            shown = _format({**(numbers or {}), **speed})
            self._progress.update(self._task, numbers=shown)
        self._progress.update(self._task, advance=steps)
        due = time.monotonic() - self._last_line > PLAIN_INTERVAL_S
        if not console.is_terminal and due:
            self._last_line = time.monotonic()
            shown = self._progress.tasks[self._task].fields["numbers"]
            console.print(f"  {self._title} {self._done}/{self._total}  {shown}")


@contextmanager
def progress_bar(title: str, total: int, done: int = 0) -> Iterator[ProgressBar]:
    """Show a bar of `total` steps, some of them done before, while the block runs."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    hidden = console.quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        yield ProgressBar(progress, title, total, done)


def _format(numbers: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def count_of(count: float, noun: str, plural: str = "") -> str:
    """`1 pair`, `2 pairs`. plural: of a noun that takes more than an s."""
    return f"{count:.0f} {noun if count == 1 else plural or f'{noun}s'}"


def text_table(*columns: str, title: str | None = None, whole: Collection[str] = ()) -> Table:
    """A table that cuts nothing: a word too long for its column goes on in the next line. whole:
    columns that are as wide as they need to be."""
    made = (Column(name, overflow="fold", no_wrap=name in whole) for name in columns)
    return Table(*made, title=title, title_justify="left")


def number_table(*columns: str, title: str) -> Table:
    """The same without lines between columns, so that the numbers of four policies and the names of
    metrics fit 80."""
    made = (Column(name, overflow="fold") for name in columns)
    return Table(*made, title=title, title_justify="left", box=SIMPLE, show_edge=False, padding=0)
