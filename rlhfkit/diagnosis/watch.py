"""The doctor during training: asked every few iterations, it warns or pauses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhfkit.config.doctor import DoctorConfig
from rlhfkit.console import console
from rlhfkit.diagnosis.diagnoses import diagnose
from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding
from rlhfkit.diagnosis.stored import logged_rows, stored_settings
from rlhfkit.storage import stop_signals
from rlhfkit.storage.catalogue import METRICS_FILE


class Watch:
    """Over one stage. Each diagnosis is told once in a run: what stood in metrics.jsonl when a run
    resumes was told before, so a run that was paused goes on."""

    def __init__(self, config: DoctorConfig, stage_dir: Path) -> None:
        self._config = config
        self._run = stage_dir.parent
        self._settings = stored_settings(stage_dir)
        self._rows: list[Mapping[str, Any]] = list(logged_rows(stage_dir / METRICS_FILE))
        self._told = set(self._diagnose())

    def see(self, step: int, metrics: Mapping[str, float]) -> None:
        """One more iteration."""
        if "objective/scores" not in metrics:
            return
        while self._rows and self._rows[-1]["step"] >= step:
            self._rows.pop()  # logged after the checkpoint that the run resumed from
        self._rows.append({"step": step, **metrics})
        if len(self._rows) % self._config.every == 0:
            self._look()

    def _look(self) -> None:
        found = {name: item for name, item in self._diagnose().items() if name not in self._told}
        for name, finding in found.items():
            line = f"doctor: {name}: {finding.saw}; try {finding.change[0]}"
            console.print(line, style="yellow", markup=False, soft_wrap=True)
        self._told |= found.keys()
        if found and self._config.on_alarm == "pause":
            console.print(
                f"doctor: pausing; `rlhfkit doctor {self._run}` says more. Resumed, the run goes "
                f"on as it is; a change takes force_from=rl",
                markup=False,
                soft_wrap=True,
            )
            stop_signals.request_stop()

    def _diagnose(self) -> dict[str, Finding]:
        return diagnose(Evidence(self._rows, self._settings))
