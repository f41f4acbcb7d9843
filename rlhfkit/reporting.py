"""Numbers of a stage: metrics.jsonl, observers, and the trackers transformers knows."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from rlhfkit.context import Context
from rlhfkit.diagnosis.watch import Watch
from rlhfkit.distributed.processes import is_main
from rlhfkit.errors import UserError
from rlhfkit.storage.catalogue import EVALUATION_FILE, METRICS_FILE, NOTES_FILE, TAX_FILE
from rlhfkit.storage.run_dir import RunDir, as_written, read_json
from rlhfkit.types import Metric, TaxEntry

Metrics = dict[str, dict[str, Metric]]
"""An evaluation: by policy and name."""

Tax = dict[str, TaxEntry]
"""An evaluation's paired differences: by metric."""


METRIC_WORDS = {
    "win_rate": "preferred to SFT",
    "win_rate_length_controlled": "... at equal length",
    "win_rate_both_ended": "... where both end",
    "tie_rate": "ties with SFT",
    "rubric_greedy": "constraints kept, greedy",
    "rubric": "... at the temperature",
    "closed_questions_greedy": "questions right, greedy",
    "closed_questions": "... at the temperature",
    "pretraining_loss": "text loss, nats a token",
    "eos_share": "ends by itself",
    "length": "tokens an answer",
    "kl": "KL to SFT, nats",
}
"""What the metrics of rlhfkit's own evaluators are called, in the order of the table."""


def main_first(names: Sequence[str]) -> list[str]:
    """Metrics that have words before others."""
    named = [name for name in METRIC_WORDS if name in names]
    return named + [name for name in names if name not in METRIC_WORDS]


def toy_tastes(labeler: str, data: Iterable[str]) -> bool:
    """Whether rules that were written for the quickstart's prompts judge other data. data: names of
    the sources."""
    return labeler == "simulated" and "quickstart" not in data


def read_metrics(run: RunDir) -> Metrics:
    """What the stage evaluate of a run found; nothing where it did not run."""
    path = run.stage_dir("evaluate") / EVALUATION_FILE
    if not path.exists():
        return {}
    stored = read_json(path)
    with as_written(path):
        return in_order(
            {
                policy: {name: _metric(metric) for name, metric in found.items()}
                for policy, found in stored.items()
            }
        )


def in_order(metrics: Metrics) -> Metrics:
    """The policies as they are made: base, SFT, what is compared with them, RL."""
    places = {"base": 0, "prompted": 1, "sft": 2, "rl": 4}
    return dict(sorted(metrics.items(), key=lambda entry: places.get(entry[0], 3)))


def read_tax(run: RunDir) -> Tax:
    """What the policies of a run gain or lose, paired; nothing where that was not measured."""
    path = run.stage_dir("evaluate") / TAX_FILE
    if not path.exists():
        return {}
    stored = read_json(path)
    with as_written(path):
        return {
            name: TaxEntry(
                entry["better"],
                {
                    reference: {policy: _metric(metric) for policy, metric in found.items()}
                    for reference, found in entry["deltas"].items()
                },
            )
            for name, entry in stored.items()
        }


def evaluation_notes(run: RunDir) -> list[str]:
    """A sentence for everything that the evaluators of a run could not measure, or not on all that
    was asked for."""
    path = run.stage_dir("evaluate") / NOTES_FILE
    if not path.exists():
        return []
    stored = read_json(path)
    with as_written(path):
        return [f"{name}: {note}." for name, notes in stored.items() for note in notes]


def _metric(stored: dict[str, Any]) -> Metric:
    if not all(isinstance(value, int | float) for value in stored.values()):
        raise TypeError(f"no metric: {stored}")
    return Metric(**stored)


def shown(metric: Metric | None) -> str:
    """A metric as text."""
    if metric is None:
        return "-"
    return f"{metric.value:.3g} [{metric.low:.3g}, {metric.high:.3g}]"


def counts(metrics: Iterable[Metric | None]) -> str:
    """How many independent items some policies' metric is taken over: `137`, `41 to 52`."""
    found = sorted({metric.count for metric in metrics if metric is not None})
    return " to ".join(str(count) for count in dict.fromkeys((found[0], found[-1])))


def confidence(metrics: Iterable[Metric]) -> str:
    """The confidence levels of metrics' intervals as text: `95 %`."""
    levels = sorted({metric.level for metric in metrics} or {Metric.level})
    return ", ".join(f"{100 * level:g} %" for level in levels)


class Reporter:
    """Writes a stage's numbers everywhere they belong; use as a context manager. Of several
    processes the main one writes, and the others' are silent.

    arguments: of the stage's own trainer, which a tracker then shares; making new ones would
    reset the state of accelerators that exist.
    """

    def __init__(self, context: Context, arguments: Any = None) -> None:
        self._context = context
        place = context.stage_dir / METRICS_FILE if is_main() else Path(os.devnull)
        self._file = place.open("a", encoding="utf-8")
        tracked = bool(context.config.report_to) and is_main()
        self._trackers = _Trackers(context, arguments) if tracked else None
        doctor = context.config.doctor
        watched = context.stage == "rl" and doctor.on_alarm != "off" and is_main()
        self._watch = Watch(doctor, context.stage_dir) if watched else None

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._trackers is not None:
            self._trackers.finish()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line in metrics.jsonl; `step` counts as the stage does."""
        if not is_main():
            return
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        self._context.plugins.hook.metrics_logged(
            stage=self._context.stage, step=step, metrics=metrics
        )
        if self._trackers is not None:
            self._trackers.log(step, metrics)
        if self._watch is not None:
            self._watch.see(step, metrics)


class _Trackers:
    """TensorBoard, W&B, Trackio and others through transformers' own callbacks."""

    def __init__(self, context: Context, arguments: Any) -> None:
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations import get_reporting_integration_callbacks

        self._arguments = copy(arguments or TrainingArguments(use_cpu=True))
        self._arguments.output_dir = str(context.stage_dir / "trackers")
        self._arguments.run_name = f"{context.config.run_name}-{context.stage}"
        self._state, self._control = TrainerState(), TrainerControl()
        try:
            kinds = get_reporting_integration_callbacks(context.config.report_to)
            self._callbacks = [kind() for kind in kinds]
        except (ValueError, ImportError, RuntimeError) as error:
            raise UserError(f"report_to={context.config.report_to}: {error}") from error
        self._each("on_train_begin")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._state.global_step = step
        self._each("on_log", logs=dict(metrics))

    def finish(self) -> None:
        self._each("on_train_end")

    def _each(self, event: str, **values: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(self._arguments, self._state, self._control, **values)
