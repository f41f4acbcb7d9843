"""How far the stage of a run is that is at work: from its settings and what it has logged."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.diagnosis.stored import stored_settings
from rlhfkit.storage.catalogue import METRICS_FILE
from rlhfkit.storage.run_dir import RECORD, STARTED, RunDir

Row = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """One stage."""

    stage: str
    share: float
    """From 0 to 1."""

    text: str
    """How far it is, in its own measure."""

    seconds: float
    """From its start to its last number; of a stage that was resumed, with the time between."""

    last_at: float
    """When it logged last, as `time.time` counts."""

    rows: list[Row]


def progress_of(run: RunDir, stages: Sequence[str]) -> Progress | None:
    """The first stage that was started and is not complete, else the last one that logged curves;
    None where nothing was logged."""
    logged = [name for name in stages if (run.stage_dir(name) / METRICS_FILE).is_file()]
    working = [name for name in logged if not (run.stage_dir(name) / RECORD).is_file()]
    curved = [name for name in logged if name in _MEASURES]
    name = next(iter([*working, *reversed(curved)]), None)
    if name is None:
        return None
    folder = run.stage_dir(name)
    rows = _rows(folder / METRICS_FILE)
    measure = _MEASURES.get(name, _steps)
    share, text = measure(rows, stored_settings(folder))
    last = (folder / METRICS_FILE).stat().st_mtime
    started = folder / STARTED
    seconds = last - started.stat().st_mtime if started.is_file() else 0.0
    if (folder / RECORD).is_file():
        share, text = 1.0, "complete"
    return Progress(name, share, text, seconds, last, rows)


def _rows(path: Any) -> list[Row]:
    """Whole lines; the last one may be in the making."""
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def _episodes(rows: list[Row], settings: Row) -> tuple[float, str]:
    total = float(settings.get("stage.rl.total_episodes") or 0)
    done = max((float(row.get("episode", 0)) for row in rows), default=0.0)
    return _share(
        done, total
    ), f"{done:.0f} of {count_of(total, 'episode')}{_speed(rows, settings)}"


def _speed(rows: list[Row], settings: Row) -> str:
    """Tokens a second of the last iteration, the update's time left out."""
    last = next((row for row in reversed(rows) if row.get("time/rollout")), None)
    if last is None:
        return ""
    tokens = float(last["response/length"]) * float(settings.get("stage.rl.batch_size") or 0)
    return f", {tokens / float(last['time/rollout']):.0f} tokens/s sampled"


def _epochs(stage: str) -> Callable[[list[Row], Row], tuple[float, str]]:
    def measure(rows: list[Row], settings: Row) -> tuple[float, str]:
        total = float(settings.get(f"stage.{stage}.num_train_epochs") or 0)
        done = max((float(row.get("epoch", 0)) for row in rows), default=0.0)
        return _share(done, total), f"{done:.3g} of {total:.3g} epochs"

    return measure


def _steps(rows: list[Row], settings: Row) -> tuple[float, str]:
    done = max((int(row.get("step", 0)) for row in rows), default=0)
    return 0.0, f"{done} done"


def _share(done: float, total: float) -> float:
    return min(done / total, 1.0) if total > 0 else 0.0


_MEASURES = {
    "sft": _epochs("sft"),
    "reward_model": _epochs("reward_model"),
    "rl": _episodes,
}
