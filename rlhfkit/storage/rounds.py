"""Rounds: a run that goes on from another one, whose policy it samples from and whose rankings it
adds to its own.

Source: InstructGPT, section 3.1 ("Steps 2 and 3 can be iterated continuously; more comparison data
is collected on the current best policy, which is used to train a new RM and then a new policy").
Each round is a run of its own; `round.json` in its directory names the one before.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import RunDir, as_written, read_json, write_json

ROUND_FILE = "round.json"


def round_dir(run_name: str, number: int) -> str:
    """Where the run of a round lies: `runs/mine` for the first, `runs/mine-round2` for the next."""
    return f"runs/{run_name}" if number <= 1 else f"runs/{run_name}-round{number}"


def previous_dir(run_name: str, number: int) -> str | None:
    """Where the run of the round before lies; None for the first round."""
    return round_dir(run_name, number - 1) if number > 1 else None


def round_of(run: RunDir) -> int:
    """Which round a run is."""
    return int(_lineage(run).get("round", 1))


def earlier_rounds(number: int, previous: str | None) -> list[RunDir]:
    """The runs of the rounds before, the first in front. Raises `UserError` where they are not
    there, or are not so many."""
    if number <= 1:
        return []
    if previous is None or not Path(previous).is_dir():
        raise UserError(
            f"round={number} goes on from the run of round {number - 1}: previous={previous} is no "
            f"directory"
        )
    found = [RunDir(previous)]
    while (before := _previous(found[0])) is not None and len(found) < number:
        found.insert(0, before)
    if len(found) != number - 1:
        raise UserError(
            f"round={number}: previous={previous} is round {round_of(RunDir(previous))}; say "
            f"round={round_of(RunDir(previous)) + 1}, or name the run of round {number - 1}"
        )
    return found


def rounds_until(run: RunDir) -> list[RunDir]:
    """A run and the rounds before it, the first in front; of runs that are gone, none."""
    found = [run]
    while (before := _previous(found[0])) is not None and before.root.is_dir():
        if before.root.resolve() in {one.root.resolve() for one in found}:
            break
        found.insert(0, before)
    return found


def record_round(run: RunDir, number: int, previous: str) -> None:
    """Write which round a run is. Raises `UserError` where it is another one already."""
    place = os.path.relpath(previous, run.root)
    lineage = {"round": number, "previous": place}
    if _lineage(run) not in ({}, lineage):
        raise UserError(
            f"{run.root} is round {round_of(run)} after {_previous_place(run)}; choose another "
            f"run_name"
        )
    run.root.mkdir(parents=True, exist_ok=True)
    write_json(run.root / ROUND_FILE, lineage)


def _previous(run: RunDir) -> RunDir | None:
    place = _previous_place(run)
    return RunDir(os.path.normpath(run.root / place)) if place is not None else None


def _previous_place(run: RunDir) -> str | None:
    found: str | None = _lineage(run).get("previous")
    return found


def _lineage(run: RunDir) -> Mapping[str, Any]:
    path = run.root / ROUND_FILE
    if not path.exists():
        return {}
    found = read_json(path)
    with as_written(path):
        if not isinstance(found["round"], int) or not isinstance(found["previous"], str):
            raise TypeError("neither a round nor the one before")
    lineage: Mapping[str, Any] = found
    return lineage
