"""The PPO benchmark's records as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from summary import ratios, spread

MIB = 2**20

Record = Mapping[str, Any]

COLUMNS = {
    "episodes_per_second": "episodes/s",
    "tokens_per_second": "tokens/s",
    "peak_mib": "peak MiB",
    "above_imports_mib": "above imports",
    "reward_per_minute": "reward/min",
}


def table(runs: Sequence[Record], warm_up: int, batch_size: int) -> Table:
    """A row for each load and side, and below them how they compare, repetition by repetition."""
    made = Table(title="median [lowest, highest] of the repetitions", box=box.SIMPLE)
    for column in ("load", "side", "adapters", *COLUMNS.values()):
        made.add_column(column)
    groups: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for run in runs:
        key = run["load"], run["side"], run["layers"]
        groups.setdefault(key, []).append(numbers(run, warm_up, batch_size))
    for key, group in groups.items():
        made.add_row(*key, *(spread([item[name] for item in group]) for name in COLUMNS))
    for load in dict.fromkeys(key[0] for key in groups):
        _add_ratios(made, {key[1:]: group for key, group in groups.items() if key[0] == load}, load)
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


def _add_ratios(
    made: Table, groups: Mapping[tuple[str, str], Sequence[Mapping[str, float]]], load: str
) -> None:
    """Of rlhfkit to TRL; a reward may be 0 or negative, so it has none."""
    others = [group for (side, _), group in groups.items() if side == "trl"]
    for (side, layers), group in groups.items():
        if side == "trl" or not others:
            continue
        cells = [
            spread(ratios([item[name] for item in group], [item[name] for item in others[0]]))
            for name in list(COLUMNS)[:-1]
        ]
        made.add_row(load, "rlhfkit / trl", layers, *cells, "")
