"""What a page tells of a run, read from its files alone: an unfinished or damaged run shows what
there is and says what is missing."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rlhfkit.console import count_of
from rlhfkit.errors import UserError
from rlhfkit.figures import rounds
from rlhfkit.figures.win_matrix import Matrix, read_win_matrix
from rlhfkit.labelling.agreement import Agreement
from rlhfkit.labelling.human_evaluation import HumanEvaluation, read_human_evaluation
from rlhfkit.labelling.ratings import JudgeRatings, read_judge_ratings
from rlhfkit.reporting import Metrics, Tax, evaluation_notes, read_metrics, read_tax
from rlhfkit.stage import Stage
from rlhfkit.storage.answer_cache import ANSWERS, read_answers
from rlhfkit.storage.catalogue import AGREEMENT_FILE, METRICS_FILE, ROWS, SAMPLES_FILE
from rlhfkit.storage.frontier import Frontier, read_frontier
from rlhfkit.storage.run_dir import RunDir, as_written, read_json, read_jsonl
from rlhfkit.types import Messages

Value = TypeVar("Value")


@dataclass(frozen=True)
class StageLine:
    """A stage and what it did."""

    name: str
    finished_at: str
    seconds: float
    text: str


@dataclass(frozen=True)
class Duel:
    """The policy's and the SFT model's answers to one held-out prompt.

    Example: Duel([{"role": "user", "content": "Hi"}], "Hello.", "Hi hi hi", 1.0, False, "chat").
    """

    prompt: Messages
    policy: str
    sft: str

    preferred: float
    """Share of the judges that prefer the policy's, a tie as one half."""

    both_ended: bool | None
    """Whether both answers ended by themselves; None where that was not stored."""

    category: str
    """Empty where the data has none."""


@dataclass
class RunContents:
    """One run."""

    name: str
    root: Path
    stages: list[StageLine] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """A sentence for each thing that is not there."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Options by dotted name, of all complete stages."""

    inputs: dict[str, str] = field(default_factory=dict)
    """Digests of the data."""

    typed: list[str] = field(default_factory=list)
    """What stood on the command line that started the run last."""

    metrics: Metrics = field(default_factory=dict)
    tax: Tax = field(default_factory=dict)
    """What policies gain or lose, item by item."""

    curves: list[dict[str, float]] = field(default_factory=list)
    """A row an iteration of stage rl."""

    frontier: Frontier | None = None
    """The policies that stage rl compared; None where it kept the last one."""

    agreement: Agreement | None = None
    """How far labelers agree; None where no two ranked the same."""

    people: HumanEvaluation | None = None
    """What people said in the browser; None where nobody was asked."""

    rated: JudgeRatings | None = None
    """What models said of each answer alone; None where none was asked."""

    win_matrix: Matrix = field(default_factory=dict)
    """Which policy is preferred to which, by the run's labelers."""

    rounds: list[list[str]] = field(default_factory=list)
    """A row of `rlhfkit.figures.rounds.HEAD` for each round; none for a run without rounds."""

    judges: str = ""
    """What the answers of model judges took; empty where none was asked."""

    duels: list[Duel] = field(default_factory=list)
    words: dict[str, float] = field(default_factory=dict)
    """Mean number of words of an answer, by policy."""

    @property
    def simulated(self) -> bool:
        """Whether the judges are simulated."""
        return self.settings.get("labeler.name") == "simulated"

    @property
    def sources(self) -> set[str]:
        """Names of the data sources, as in `data=files`."""
        return {key.removeprefix("data ").partition(".")[0] for key in self.inputs}

    @property
    def optimizer(self) -> str:
        """What the run's policy is called, as in the paper's figure 1."""
        mixed = "-ptx" if self.settings.get("optimizer.ptx_coef") else ""
        return f"{str(self.settings.get('optimizer.name', 'rl')).upper()}{mixed}"


def read_run(run: RunDir, stages: Sequence[Stage]) -> RunContents:
    """Everything that the page shows. stages: in their order."""
    found = RunContents(run.root.resolve().name, run.root)
    for stage in stages:
        if stage.describe is not None and run.stage_dir(stage.name).is_dir():
            _whatever(found, partial(_add_stage, found, run, stage), None)
    found.typed = _whatever(found, lambda: _typed(run), [])
    found.metrics = _whatever(found, lambda: read_metrics(run), {})
    found.tax = _whatever(found, lambda: read_tax(run), {})
    if not found.metrics:
        found.missing.append("Nothing was evaluated: let the stage evaluate run.")
    found.missing += _whatever(found, lambda: evaluation_notes(run), [])
    found.curves = _whatever(found, lambda: _curves(run), [])
    found.frontier = _whatever(found, lambda: read_frontier(run), None)
    found.agreement = _whatever(found, lambda: read_agreement(run), None)
    found.people = _whatever(found, lambda: read_human_evaluation(run), None)
    found.rated = _whatever(found, lambda: read_judge_ratings(run), None)
    found.win_matrix = _whatever(found, lambda: read_win_matrix(run), {})
    found.rounds = _whatever(found, lambda: rounds.table(rounds.points(run)), [])
    found.judges = _judges(run, found.settings)
    samples: list[dict[str, Any]] = _whatever(
        found, lambda: _rows(run.stage_dir("evaluate") / SAMPLES_FILE), []
    )
    found.words = _mean_words(samples)
    found.duels = _whatever(found, lambda: _duels(run, samples), [])
    return found


def _whatever(found: RunContents, read: Callable[[], Value], otherwise: Value) -> Value:
    """What is read, or a sentence on why it cannot be."""
    try:
        return read()
    except UserError as error:
        found.missing.append(f"{error}.")
        return otherwise


def _add_stage(found: RunContents, run: RunDir, stage: Stage) -> None:
    path, record = run.stage_dir(stage.name), run.record(stage.name)
    if record is None:
        found.missing.append(f"Stage {stage.name} was started and is not complete.")
        return
    found.settings |= record.settings
    found.inputs |= {key: value for key, value in record.inputs.items() if key.startswith("data")}
    with as_written(path):
        text = stage.described(path) or ""
    found.stages.append(StageLine(stage.name, record.finished_at, record.seconds, text))


def _typed(run: RunDir) -> list[str]:
    files = sorted(run.root.glob("invocations/*/.hydra/overrides.yaml"))
    if not files:
        return []
    with as_written(files[-1]):
        return [str(word) for word in yaml.safe_load(files[-1].read_text(encoding="utf-8")) or []]


def _curves(run: RunDir) -> list[dict[str, float]]:
    rows = _rows(run.stage_dir("rl") / METRICS_FILE)
    return [row for row in rows if "objective/scores" in row]


def read_agreement(run: RunDir) -> Agreement | None:
    """What stage label measured; None where no two labelers ranked the same."""
    path = run.stage_dir("label") / AGREEMENT_FILE
    if not path.exists():
        return None
    found = read_json(path)
    with as_written(path):
        agreement = Agreement.parse(found["details"]) if "details" in found else None
    return agreement if agreement and agreement.agreement_with_ties else None


def _judges(run: RunDir, settings: Mapping[str, Any]) -> str:
    answers = [answer for _, answer in read_answers(run.root / ANSWERS)]
    if not answers:
        return ""
    given = sum(answer.prompt_tokens for answer in answers)
    made = sum(answer.completion_tokens for answer in answers)
    prices = [settings.get(f"labeler.{part}_price") or 0 for part in ("input", "output")]
    cost = (given * prices[0] + made * prices[1]) / 1e6
    paid = f" for ${cost:.2f}" if cost else ""
    return f"{count_of(len(answers), 'answer')} of model judges took {given} + {made} tokens{paid}."


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.exists() else []


def _mean_words(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    counts: dict[str, list[int]] = {}
    for row in samples:
        counts.setdefault(row["policy"], []).append(len(str(row["completion"]).split()))
    return {policy: sum(own) / len(own) for policy, own in counts.items()}


def _duels(run: RunDir, samples: Sequence[dict[str, Any]]) -> list[Duel]:
    """The largest wins first."""
    path = run.stage_dir("evaluate") / ROWS / "win_rate.jsonl"
    with as_written(path):
        ended = {
            (row["policy"], json.dumps(row["prompt"]), row["completion"]): bool(row["finished"])
            for row in samples
        }
        duels = [
            Duel(
                prompt=row["prompt"],
                policy=str(row["completion"]),
                sft=str(row["sft"]),
                preferred=float(row["win_rate"]),
                both_ended=_both(ended, row),
                category=str(row.get("category") or ""),
            )
            for row in _rows(path)
            if row["policy"] == "rl" and "sft" in row
        ]
    return sorted(duels, key=lambda duel: -duel.preferred)


def _both(ended: dict[tuple[str, str, str], bool], row: dict[str, Any]) -> bool | None:
    prompt = json.dumps(row["prompt"])
    flags = (
        ended.get(("rl", prompt, row["completion"])),
        ended.get(("sft", prompt, row["sft"])),
    )
    return None if None in flags else all(flags)
