"""What each built-in stage did, in one line for the report."""

from pathlib import Path

from rlhfkit.console import count_of
from rlhfkit.data.prepared import PARTS, TEST, TRAIN, VALIDATION
from rlhfkit.reporting import shown
from rlhfkit.storage.catalogue import (
    AGREEMENT_FILE,
    COMPLETIONS_FILE,
    EVALUATION_FILE,
    METRICS_FILE,
    RANKINGS_FILE,
    RESULT_FILE,
    ROWS,
)
from rlhfkit.storage.frontier import read_frontier
from rlhfkit.storage.run_dir import RunDir, read_json, read_jsonl
from rlhfkit.types import Metric

_USES = {TRAIN: "train on", VALIDATION: "validate on", TEST: "test on"}


def prepare(path: Path) -> str:
    """Rows by what they are for."""
    parts = {part: (path / part).glob("*.jsonl") for part in PARTS}
    counts = {part: sum(len(read_jsonl(file)) for file in files) for part, files in parts.items()}
    return ", ".join(
        f"{count_of(count, 'row')} to {_USES[part]}" for part, count in counts.items() if count
    )


def sft(path: Path) -> str:
    """The last validation loss."""
    losses = [row["eval_loss"] for row in read_jsonl(path / METRICS_FILE) if "eval_loss" in row]
    return f"validation loss {losses[-1]:.3f}" if losses else "trained"


def sample(path: Path) -> str:
    """How many completions there are, and how many ended by themselves."""
    rows = read_jsonl(path / COMPLETIONS_FILE)
    count = sum(len(row["completions"]) for row in rows)
    ended = sum(sum(row["finished"]) for row in rows)
    drawn = f"{count_of(count, 'completion')} of {count_of(len(rows), 'prompt')}"
    return f"{drawn}, {ended / count:.0%} ended by themselves"


def label(path: Path) -> str:
    """How many rankings there are, and how far the labelers agree."""
    agreement = read_json(path / AGREEMENT_FILE)
    rankings = count_of(len(read_jsonl(path / RANKINGS_FILE)), "ranking")
    if agreement["agreement"] is None:
        return rankings
    return f"{rankings}, labelers agree on {agreement['agreement']:.1%} of pairs"


def reward_model(path: Path) -> str:
    """Validation accuracy."""
    result = read_json(path / RESULT_FILE)
    if result["validation_accuracy"] is None:
        return "trained, no validation prompts"
    said = f"validation accuracy {result['validation_accuracy']:.1%}"
    if result["validation_prompts"] > 1 and "validation_low" in result:  # earlier runs have none
        said += f" [{result['validation_low']:.1%}, {result['validation_high']:.1%}]"
    pairs = count_of(result["validation_pairs"], "pair")
    return f"{said} on {pairs} of {count_of(result['validation_prompts'], 'prompt')}"


def rl(path: Path) -> str:
    """Score at the start and at the end, and the KL it took."""
    rows = [row for row in read_jsonl(path / METRICS_FILE) if "objective/scores" in row]
    if not rows:
        return "trained offline"
    first, last = rows[0], rows[-1]
    frontier = read_frontier(RunDir(path.parent))
    kept = f". {frontier.sentence()}" if frontier else ""
    return (
        f"score {first['objective/scores']:.2f} to {last['objective/scores']:.2f}, "
        f"KL {last['objective/kl']:.1f} nats after {count_of(last['episode'], 'episode')}{kept}"
    )


def evaluate(path: Path) -> str:
    """The win rate against the SFT model, and where the rows are."""
    metrics = read_json(path / EVALUATION_FILE)
    rows = f"; answer by answer in evaluate/{ROWS}/" if (path / ROWS).is_dir() else ""
    if "win_rate" not in metrics.get("rl", {}):
        return f"measured{rows}"
    return f"policy preferred to SFT: {shown(Metric(**metrics['rl']['win_rate']))}{rows}"
