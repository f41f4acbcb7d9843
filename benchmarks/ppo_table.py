"""The PPO benchmark's records as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from summary import ratios, spread

MIB = 2**20

Record = Mapping[str, Any]
Numbers = Mapping[str, float]

ROWS = {
    "episodes_per_second": "episodes/s",
    "tokens_per_second": "tokens/s",
    "peak_mib": "peak MiB",
    "above_imports_mib": "above imports",
    "reward_per_minute": "reward/min",
}


def table(runs: Sequence[Record], warm_up: int, batch_size: int) -> Table:
    """A section for each load and each choice of layers with adapters in rlhfkit; TRL has them in
    all layers."""
    made = Table(title="median [lowest, highest] of the repetitions", box=box.SIMPLE)
    for column in ("load, adapters", "rlhfkit", "trl", "rlhfkit / trl"):
        made.add_column(column)
    groups: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for run in runs:
        key = run["side"], run["load"], run["layers"]
        groups.setdefault(key, []).append(numbers(run, warm_up, batch_size))
    trl = {load: group for (side, load, _), group in groups.items() if side == "trl"}
    for (side, load, layers), group in groups.items():
        if side == "rlhfkit":
            made.add_row(f"[bold]{load}, {layers}")
            _add_section(made, group, trl[load])
    return made


def numbers(run: Record, warm_up: int, batch_size: int) -> dict[str, float]:
    """What a run comes to after its first iterations; batch_size: in episodes."""
    ended_at, scores = run["ended_at"], run["scores"]
    seconds = ended_at[-1] - ended_at[warm_up - 1]
    timed = len(ended_at) - warm_up
    return {
        "episodes_per_second": timed * batch_size / seconds,
        "tokens_per_second": sum(run["tokens"][warm_up:]) / seconds,
        "peak_mib": run["peak_bytes"] / MIB,
        "above_imports_mib": (run["peak_bytes"] - run["before_bytes"]) / MIB,
        "reward_per_minute": (scores[-1] - scores[warm_up - 1]) / seconds * 60,
    }


def _add_section(made: Table, ours: Sequence[Numbers], theirs: Sequence[Numbers]) -> None:
    """Ratios are taken repetition by repetition; a reward may be 0 or negative and has none."""
    for name, label in ROWS.items():
        mine, other = ([item[name] for item in group] for group in (ours, theirs))
        compared = "" if name == "reward_per_minute" else spread(ratios(mine, other))
        made.add_row(f"  {label}", spread(mine), spread(other), compared)
