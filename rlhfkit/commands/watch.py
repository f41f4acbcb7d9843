"""`rlhfkit watch RUN [--once]`: a run from another terminal, told from its files alone.

Stages, curves of the stage that is at work, the latest answers, what the doctor finds, time left.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from shlex import join
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlhfkit.commands.flags import parse_flags
from rlhfkit.commands.progress_of_run import Progress, progress_of
from rlhfkit.console import console
from rlhfkit.diagnosis.diagnoses import DIAGNOSES, diagnose, missing
from rlhfkit.diagnosis.stored import read_evidence
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.runner.run_lock import has_stopped
from rlhfkit.stages.registry import stages_of
from rlhfkit.storage.catalogue import COMPLETIONS_FILE, SAMPLES_FILE
from rlhfkit.storage.find_run import find_run
from rlhfkit.storage.run_dir import STARTED, RunDir, read_jsonl

WIDTH = 80
EVERY_S = 2.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARKS = 36
_CURVES = {
    "objective/scores": "score",
    "objective/kl": "KL to SFT, nats",
    "response/length": "tokens an answer",
    "response/eos_share": "ends by itself",
    "loss": "loss",
    "eval_loss": "validation loss",
}
_SAMPLES = (f"evaluate/{SAMPLES_FILE}", f"sample/{COMPLETIONS_FILE}")
_SHOWN = 3


@dataclass(frozen=True)
class WatchOptions:
    """`rlhfkit watch RUN`"""

    once: bool = False
    """Show the run as it is now and end; without it the picture is renewed until Ctrl-C."""


@dataclass
class Pace:
    """How fast a stage goes, by what is seen of it."""

    seen: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=50))
    stage: str = ""

    def seconds_left(self, progress: Progress, now: float) -> float | None:
        """From the steps since this began to watch, else from all since the stage was started."""
        if progress.stage != self.stage:
            self.stage = progress.stage
            self.seen.clear()
        if not self.seen or self.seen[-1][1] < progress.share:
            self.seen.append((now, progress.share))
        (begin, first), (end, last) = self.seen[0], self.seen[-1]
        if last > first and end > begin:
            return (1 - last) * (end - begin) / (last - first) - (now - end)
        if progress.share and progress.seconds:
            return (1 - progress.share) * progress.seconds / progress.share
        return None


def watch_run(arguments: list[str], plugins: Plugins) -> None:
    """Show the run until Ctrl-C; once where nobody looks on."""
    words, options = parse_flags("watch", arguments, WatchOptions)
    if len(words) != 1:
        raise UserError("watch: say one run, as in rlhfkit watch runs/quickstart [--once]")
    run, pace = find_run(words[0], "watch"), Pace()
    if options.once or not console.is_terminal:
        console.print(view(run, plugins, pace, time.time()))
        return
    try:
        with Live(view(run, plugins, pace, time.time()), console=console, screen=False) as live:
            while True:
                time.sleep(EVERY_S)
                live.update(view(run, plugins, pace, time.time()))
    except KeyboardInterrupt:
        return


def view(run: RunDir, plugins: Plugins, pace: Pace, now: float) -> RenderableType:
    """All of it, 80 columns wide."""
    stages = [stage.name for stage in stages_of(plugins)]
    progress = progress_of(run, stages)
    stopped = has_stopped(run.root)
    title = Text(str(run.root), style="bold")
    parts: list[RenderableType] = [title, _stages(run, stages, stopped)]
    if progress is not None:
        left = None if stopped else pace.seconds_left(progress, now)
        parts += [_now(progress, left, now), _curves(progress.rows)]
    if stopped and any((run.stage_dir(name) / STARTED).exists() for name in stages):
        said = f"stopped; {join(['rlhfkit', 'resume', str(run.root)])} goes on"
        parts.append(Text(said, style="yellow"))
    parts += [_answers(run), _findings(run)]
    return Group(*parts)


def _stages(run: RunDir, stages: list[str], stopped: bool) -> Text:
    line = Text(overflow="fold")
    for name in stages:
        if (run.stage_dir(name) / "stage.json").exists():
            line.append(f"✓ {name}  ", style="green")
        elif run.stage_dir(name).is_dir():
            line.append(f"{'■' if stopped else '▶'} {name}  ", style="yellow")
    return line


def _now(progress: Progress, left: float | None, now: float) -> Text:
    done = f"{progress.stage}: {progress.text}"
    remaining = f", about {_duration(left)} left" if left is not None and left > 0 else ""
    quiet = now - progress.last_at
    since = f"; last number {_duration(quiet)} ago" if quiet > 30 and progress.share < 1 else ""
    return Text(done + remaining + since)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _curves(rows: list[dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for key, name in _CURVES.items():
        values = [float(row[key]) for row in rows if isinstance(row.get(key), int | float)]
        if values:
            table.add_row(f"  {name}", sparkline(values), f"{values[0]:.4g} → {values[-1]:.4g}")
    return table


def sparkline(values: list[float], width: int = _SPARKS) -> str:
    """Values, at least one, as a row of blocks; of many, means of as many as a block stands for."""
    count = min(width, len(values))
    edges = [len(values) * place // count for place in range(count + 1)]
    means = [sum(values[first:last]) / (last - first) for first, last in pairwise(edges)]
    finite = [value for value in means if value - value == 0]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        _BLOCKS[round((value - low) * scale)] if value - value == 0 else "×" for value in means
    )


def _answers(run: RunDir) -> RenderableType:
    """The end of the newest file of answers."""
    files = [run.root / name for name in _SAMPLES if (run.root / name).is_file()]
    if not files:
        return Text("")
    newest = max(files, key=lambda file: file.stat().st_mtime)
    table = Table.grid(padding=(0, 1))
    for row in read_jsonl(newest)[-_SHOWN:]:
        asked = " ".join(str(row["prompt"][-1]["content"]).split())
        answer = row.get("completion", next(iter(row.get("completions") or [""]), ""))
        who = row.get("policy", next(iter(row.get("sources") or [""]), ""))
        said = Text(f"{who}: {_cut(answer, 200)}")
        table.add_row(Text(f"  {_cut(asked, 36)}", style="dim"), said)
    return Group(Text(f"answers of {newest.parent.name}"), table)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _findings(run: RunDir) -> Text:
    try:
        evidence = read_evidence(run)
        found = diagnose(evidence)
    except UserError as error:  # a file that is being written
        return Text(str(error), style="dim")
    if all(missing(item, evidence) for item in DIAGNOSES):
        return Text("doctor: nothing to go by yet", style="dim")
    if not found:
        return Text("doctor: nothing found", style="green")
    lines = [f"doctor: {name}: {finding.saw}" for name, finding in found.items()]
    return Text("\n".join(lines), style="yellow")
