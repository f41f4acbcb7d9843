"""Stage word_counts: how long the sampled answers are, in words.

1. read the completions  2. count  3. write the counts

Writes: word_counts.json (for each model that answered: shortest, median and longest answer).
"""

from pathlib import Path
from statistics import median

from rlhfkit.context import Context
from rlhfkit.data.artifacts import stored_completions
from rlhfkit.errors import UserError
from rlhfkit.storage.catalogue import COMPLETIONS_FILE
from rlhfkit.storage.run_dir import read_json, write_json

COUNTS_FILE = "word_counts.json"


def run(context: Context) -> None:
    """Count the words of every completion of the stage sample.

    Raises `UserError` when an answer is longer than `stage.word_counts.most` words.
    """
    counts: dict[str, list[int]] = {}
    for row in stored_completions(context.output_of("sample", COMPLETIONS_FILE)):
        for model, text in zip(row.sources, row.completions, strict=True):
            counts.setdefault(model, []).append(len(text.split()))
    spread = {model: [min(own), median(own), max(own)] for model, own in sorted(counts.items())}
    most = context.config.stage.word_counts.most
    if most is not None and (longest := max(map(max, counts.values()))) > most:
        raise UserError(f"stage.word_counts.most={most}: an answer has {longest} words")
    write_json(context.stage_dir / COUNTS_FILE, spread)


def describe(path: Path) -> str:
    """The line of the report."""
    return ", ".join(
        f"{model}: {low} to {high} words an answer, median {middle:g}"
        for model, (low, middle, high) in read_json(path / COUNTS_FILE).items()
    )
