"""A run's directory as evidence: of a run that is finished, unfinished or still going."""

import json
from pathlib import Path
from typing import Any

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.storage.catalogue import (
    COMPLETIONS_FILE,
    EVALUATION_FILE,
    METRICS_FILE,
    SAMPLES_FILE,
    TAX_FILE,
)
from rlhfkit.storage.run_dir import RECORD, STARTED, RunDir, as_written, read_json, read_jsonl

_TRAINED_ON = ("sample/completions.jsonl", "label/rankings.jsonl", "prepare/train/prompts.jsonl")
_HELD_OUT = ("evaluate/samples.jsonl", "prepare/test/prompts.jsonl")


def read_evidence(run: RunDir) -> Evidence:
    """All that the run has; raises `UserError` for a file that no stage wrote like that."""
    rl, sampled = run.stage_dir("rl"), run.root / "sample" / COMPLETIONS_FILE
    with as_written(sampled):
        completions = [list(map(str, row["completions"])) for row in _rows(sampled)]
    return Evidence(
        logged_rows(rl / METRICS_FILE),
        stored_settings(rl),
        _evaluation(run.stage_dir("evaluate") / EVALUATION_FILE),
        _tax(run.stage_dir("evaluate") / TAX_FILE),
        _answers(run.stage_dir("evaluate") / SAMPLES_FILE),
        completions,
        _prompts(run, _TRAINED_ON),
        _prompts(run, _HELD_OUT),
    )


def logged_rows(path: Path) -> list[dict[str, Any]]:
    """The iterations that a stage has logged, a last line that is still being written left out."""
    if not path.exists():
        return []
    with as_written(path):
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        rows = [json.loads(line) for line in whole.splitlines()]
        return [row for row in rows if int(row["step"]) and "objective/scores" in row]


def stored_settings(stage_dir: Path) -> dict[str, Any]:
    """The options of a stage that is finished or was started; none of one that was not."""
    for path in (stage_dir / RECORD, stage_dir / STARTED):
        if path.exists():
            stored = read_json(path)
            with as_written(path):
                return dict(stored["settings"])
    return {}


def _evaluation(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    stored = read_json(path)
    with as_written(path):
        for policy in stored.values():
            for metric in policy.values():
                _ = [float(metric[key]) for key in ("value", "low", "high", "count")]
        return dict(stored)


def _tax(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    stored = read_json(path)
    with as_written(path):
        for entry in stored.values():
            for metric in entry["deltas"].get("sft", {}).values():
                _ = [float(metric[key]) for key in ("value", "low", "high")]
            if entry["better"] not in ("higher", "lower"):
                raise ValueError(f"better {entry['better']!r:.80}")
        return dict(stored)


def _answers(path: Path) -> dict[str, list[str]]:
    """By policy."""
    found: dict[str, list[str]] = {}
    with as_written(path):
        for row in _rows(path):
            found.setdefault(str(row["policy"]), []).append(str(row["completion"]))
    return found


def _prompts(run: RunDir, files: tuple[str, ...]) -> list[str]:
    """The last message of every prompt, which is the user's."""
    found = []
    for path in (run.root / name for name in files):
        with as_written(path):
            found += [str(row["prompt"][-1]["content"]) for row in _rows(path)]
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.exists() else []
