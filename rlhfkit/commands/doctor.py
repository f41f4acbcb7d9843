"""`rlhfkit doctor RUN [--json]`: what is wrong with a run, the likely cause, the option to change.

Exit status 0 where nothing was found, 1 where something was, 2 for a mistake in the command.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from rlhfkit.commands.flags import parse_flags
from rlhfkit.console import console, count_of
from rlhfkit.diagnosis.diagnoses import DIAGNOSES, diagnose, missing
from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding
from rlhfkit.diagnosis.stored import read_evidence
from rlhfkit.errors import UserError, nearest
from rlhfkit.plugin_manager import Plugins
from rlhfkit.storage.find_run import find_run
from rlhfkit.storage.run_dir import RunDir

WIDTH = 80


@dataclass(frozen=True)
class DoctorOptions:
    """`rlhfkit doctor RUN`"""

    json: bool = False
    """Print what was found as JSON, for programs."""


def examine_run(arguments: list[str], plugins: Plugins) -> None:
    """Print what is found and leave with the exit status that says so."""
    words, options = parse_flags("doctor", arguments, DoctorOptions)
    if len(words) != 1:
        raise UserError("doctor: say one run's directory, as in rlhfkit doctor runs/quickstart")
    run = _run(Path(words[0]))
    evidence = read_evidence(run)
    found = diagnose(evidence)
    not_made = {item.name: gaps for item in DIAGNOSES if (gaps := missing(item, evidence))}
    if len(not_made) == len(DIAGNOSES):
        raise UserError(f"doctor {run.root}: nothing to go by yet: no stage sample, rl or evaluate")
    if options.json:
        print(json.dumps(_as_json(run, evidence, found, not_made), indent=2, ensure_ascii=False))
    else:
        _show(run, evidence, found, not_made)
    sys.exit(1 if found else 0)


def _run(place: Path) -> RunDir:
    if not place.is_dir():
        if len(place.parts) == 1:  # a name, in `runs/` here or above
            return find_run(str(place), "doctor")
        parent = place.parent if place.parent.is_dir() else Path()
        names = [item.name for item in parent.iterdir() if item.is_dir()]
        raise UserError(f"doctor {place}: no such directory; {nearest(place.name, names)}")
    return RunDir(place)


def _as_json(
    run: RunDir, evidence: Evidence, found: dict[str, Finding], not_made: dict[str, list[str]]
) -> dict[str, Any]:
    return {
        "run": str(run.root),
        "iterations": len(evidence.rows),
        "found": [{"name": name, **asdict(finding)} for name, finding in found.items()],
        "not_diagnosed": not_made,
    }


def _show(
    run: RunDir, evidence: Evidence, found: dict[str, Finding], not_made: dict[str, list[str]]
) -> None:
    made = len(DIAGNOSES) - len(not_made)
    verdict = f"{len(found)} found" if found else "nothing found"
    looked = f"{count_of(made, 'diagnosis', 'diagnoses')} made"
    head = f"{run.root}: {verdict}; {count_of(len(evidence.rows), 'iteration')} of rl, {looked}"
    console.print(head, markup=False, width=WIDTH, style="yellow" if found else "green")
    for place, (name, finding) in enumerate(found.items(), start=1):
        console.print(f"\n{place}. {name}", style="bold", markup=False)
        console.print(_lines(finding), width=WIDTH)
    if found:
        console.print("\nA change takes force_from=STAGE, or another run_name with reuse=RUN.")
    for name, gaps in not_made.items():
        line = f"not diagnosed: {name}, for want of {', '.join(gaps)}"
        console.print(line, style="dim", markup=False, width=WIDTH)


def _lines(finding: Finding) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=9)
    table.add_column()
    for title, text in (
        ("   saw", finding.saw),
        ("   cause", finding.cause),
        ("   change", "\n".join(finding.change)),
        ("   source", finding.source),
    ):
        if text:
            table.add_row(title, Text(text))
    return table
