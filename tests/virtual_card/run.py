"""Runs tiny runs on the virtual card: `python -m tests.virtual_card.run CASES FOLDER`.

CASES is a JSON list of `{"name": ..., "overrides": [...]}`; one JSON line comes per case. They
share a process, since importing the libraries takes longer than a case. A case with `"reuse": true`
takes over the stages that an earlier one ran with the same settings.
"""

from tests.virtual_card import card  # before torch

# isort: split
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from rlhfkit.runner.runner import StageFailed
from tests.virtual_card.counting import OURS, ROOT
from tests.virtual_card.scenario import TinyRuns


def main() -> None:
    """Try every case, whatever the others do."""
    cases, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    runs = TinyRuns(folder)
    # what the libraries print while they run is no result
    results, sys.stdout = sys.stdout, sys.stderr
    for number, case in enumerate(cases):
        result = _try(case, runs, folder / f"runs/{number}")
        print(json.dumps(result), file=results, flush=True)


def _try(case: dict[str, Any], runs: TinyRuns, run: Path) -> dict[str, Any]:
    reuse = [f"reuse={run.parent}"] if case.get("reuse") else []
    began, error = time.perf_counter(), None
    card.reset_peak()
    try:
        runs.run(f"runs/{run.name}", *reuse, *case["overrides"])
    except (Exception, SystemExit) as raised:
        error = _told(raised)
    return {
        "name": case["name"],
        "ok": error is None,
        "error": error,
        "seconds": round(time.perf_counter() - began, 2),
        "peak_mib": round(card.peak() / 2**20, 3),
        "metrics": _last_metrics(run),
    }


def _told(error: BaseException) -> str:
    """The error itself, and where in the project it came from."""
    traceback.print_exception(error)  # whole, for who reads the output of a failed test
    while isinstance(error, StageFailed) and error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(OURS)]
    where = ""
    if ours:
        where = f" ({Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].lineno})"
    return f"{type(error).__name__}: {error}{where}"


def _last_metrics(run: Path) -> dict[str, Any] | None:
    file = run / "rl/metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return json.loads(lines[-1]) if lines else None


if __name__ == "__main__":
    main()
