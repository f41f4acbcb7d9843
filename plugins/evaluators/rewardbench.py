"""RewardBench 2 (Malik et al. 2025): best of four, and ties, from the data set's parquet file."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from rlhfkit.errors import NotRun
from rlhfkit.types import Messages
from rlhfkit_plugins.evaluators.items import Row, read_items
from rlhfkit_plugins.evaluators.reward_pairs import Score

COLUMNS = ("prompt", "chosen", "rejected", "subset")


def read_rewardbench(option: str, path: str | None) -> list[Row]:
    """Its rows; `NotRun` where they cannot be had."""
    rows = read_items(option, path, COLUMNS)
    for row in rows:
        if not (isinstance(row["chosen"], list) and isinstance(row["rejected"], list)):
            raise NotRun(f"{option}={path}: chosen and rejected are not lists of answers")
    return [row for row in rows if row["chosen"] and row["rejected"]]


def rewardbench_rows(rows: list[Row], score: Score) -> list[Row]:
    """For each question 1 where every right answer has a higher score than every wrong one. One
    right answer that shares the highest score with n - 1 wrong ones counts 1/n. Of the subset
    `Ties`, with several right answers, this is the accuracy alone: its margins are left out."""
    texts = [text for row in rows for text in (*row["chosen"], *row["rejected"])]
    prompts = [_messages(row) for row in rows for _ in (*row["chosen"], *row["rejected"])]
    scores = iter(score(prompts, texts, [True] * len(texts)))
    return [
        {
            "item": f"{row['subset']} {place}",
            "subset": str(row["subset"]),
            "rewardbench2": _best(scores, len(row["chosen"]), len(row["rejected"])),
        }
        for place, row in enumerate(rows)
    ]


def by_subset(rows: list[Row]) -> dict[str, list[float]]:
    """The numbers of each subset."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[row["subset"]].append(row["rewardbench2"])
    return dict(found)


def _best(scores: Iterator[float], right: int, wrong: int) -> float:
    chosen, rejected = list(islice(scores, right)), list(islice(scores, wrong))
    lowest, highest = min(chosen), max(rejected)
    if lowest == highest and right == 1:
        return 1 / (1 + rejected.count(highest))
    return float(lowest > highest)


def _messages(row: Row) -> Messages:
    prompt = row["prompt"]
    return prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
