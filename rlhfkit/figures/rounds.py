"""The rounds of a run beside each other: what each added, and what its policy came to."""

from rlhfkit.console import count_of
from rlhfkit.figures.comparison import Point
from rlhfkit.reporting import read_metrics, shown
from rlhfkit.storage.catalogue import RANKINGS_FILE, RESULT_FILE
from rlhfkit.storage.rounds import round_of, rounds_until
from rlhfkit.storage.run_dir import RunDir, as_written, read_json, read_jsonl

HEAD = ("round", "run", "new rankings", "reward model's accuracy", "win rate", "KL, nats")


def points(run: RunDir) -> list[Point]:
    """A point for each round up to this run's; none for a run without rounds."""
    runs = rounds_until(run)
    if len(runs) < 2:
        return []
    return [Point(one, {"round": round_of(one)}, read_metrics(one)) for one in runs]


def table(found: list[Point]) -> list[list[str]]:
    """A row of `HEAD` for each."""
    return [
        [
            str(point.options["round"]),
            point.run.root.resolve().name,
            _rankings(point.run),
            _accuracy(point.run),
            shown(point.metrics.get("rl", {}).get("win_rate")),
            shown(point.metrics.get("rl", {}).get("kl")),
        ]
        for point in found
    ]


def _rankings(run: RunDir) -> str:
    path = run.stage_dir("label") / RANKINGS_FILE
    return str(len(read_jsonl(path))) if path.exists() else "-"


def _accuracy(run: RunDir) -> str:
    path = run.stage_dir("reward_model") / RESULT_FILE
    if not path.exists():
        return "-"
    found = read_json(path)
    with as_written(path):
        value = found["validation_accuracy"]
        pairs = count_of(found["validation_pairs"], "pair")
        return "-" if value is None else f"{value:.1%} of {pairs}"
