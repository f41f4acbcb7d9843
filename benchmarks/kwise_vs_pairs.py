"""Does a reward model overfit less from whole rankings than from their pairs, shuffled?

    python benchmarks/kwise_vs_pairs.py --rankings FILE [--prompts 96] [--seeds 0 1] [OVERRIDES]

InstructGPT (section 3.5) takes all pairs of a prompt as one batch element, because one pass over
shuffled pairs overfitted. Here both are trained for one epoch on the same rankings, with as many
pairs in a step, and their losses on those rankings and on held-out prompts are compared.
"""

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from hardware import header
from memory_setup import composed
from parsers import parser_of
from rich.box import SIMPLE
from rich.table import Column, Table

from rlhfkit.console import console
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.rl.losses import kwise_ranking_loss
from rlhfkit.stages.reward_model import Element, score_elements

Row = dict[str, Any]

AT_ONCE = 4
"""Prompts of a forward pass when both are scored."""

LONGEST_PROMPT = 512
"""Tokens: none of the prompts chosen is to be dropped."""


@dataclass(frozen=True)
class Found:
    """What one reward model came to; losses and accuracies by split."""

    seed: int
    form: str
    seconds: float
    loss: dict[str, float]
    accuracy: dict[str, float]


def main() -> int:
    """The exit status."""
    options, overrides = _parse()
    rows = [row for file in options.rankings for row in read(file)]
    found = []
    for seed in options.seeds:
        training, held_out = select(rows, options, random.Random(seed))
        splits = {"training": training, "held_out": held_out}
        for form in ("kwise", "pairs"):
            found.append(measure(form, seed, splits, options.prompts_a_step, overrides))
            console.print(found[-1])
    console.print(table(found))
    result = {
        "hardware": header("cpu", seed=options.seeds[0]),
        "settings": {**vars(options), "overrides": overrides},
        "models": [vars(each) for each in found],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "kwise_vs_pairs.json"
    file.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
    console.print(f"written: {file}", soft_wrap=True)
    return 0


def read(file: Path) -> list[Row]:
    """Rankings: JSON lines with prompt (a text), completions and ranks; packed or not."""
    content = file.read_bytes()
    unpacked = gzip.decompress(content) if file.suffix == ".gz" else content
    return [json.loads(line) for line in unpacked.splitlines()]


def select(
    rows: Sequence[Row], options: argparse.Namespace, chance: random.Random
) -> tuple[list[Row], list[Row]]:
    """Rankings to train on and held-out ones, of other prompts, each one of a prompt and of K
    completions; what all completions tie is left out."""
    count = options.completions
    by_prompt = {row["prompt"]: row for row in rows if len(row["completions"]) >= count}
    chosen = []
    for key in chance.sample(sorted(by_prompt), len(by_prompt)):
        row = by_prompt[key]
        places = chance.sample(range(len(row["completions"])), count)
        chosen.append({**_part(row, places), "prompt": key[: options.longest_prompt]})
    useful = [row for row in chosen if len(set(row["ranks"])) > 1]
    return useful[options.held_out :][: options.prompts], useful[: options.held_out]


def pairs(row: Row) -> list[Row]:
    """A ranking as rankings of two, ties apart."""
    ranks = row["ranks"]
    chosen = combinations(range(len(ranks)), 2)
    return [_part(row, places) for places in chosen if ranks[places[0]] != ranks[places[1]]]


def measure(
    form: str, seed: int, splits: dict[str, list[Row]], prompts: int, overrides: list[str]
) -> Found:
    """Train a reward model in a temporary folder, and score both splits with it."""
    rows = splits["training"]
    if form == "pairs":
        rows = [pair for row in rows for pair in pairs(row)]
    count = len(splits["training"][0]["completions"])
    each = 1 if form == "kwise" else count // 2  # as many completions at once
    a_step = prompts * (1 if form == "kwise" else count * (count - 1) // 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rankings.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        settings = [
            "recipe=quickstart",
            "data=[files]",
            f"data.files.rankings={file}",
            "labeler=imported",
            "stages=[label,reward_model]",
            "stage.reward_model.validation_fraction=0",
            "stage.reward_model.normalise_on=0",
            f"model.max_prompt_length={LONGEST_PROMPT}",
            "stage.reward_model.num_train_epochs=1",
            f"stage.reward_model.per_device_train_batch_size={each}",
            f"stage.reward_model.gradient_accumulation_steps={a_step // each}",
            f"seed={seed}",
            *overrides,
        ]
        started = time.perf_counter()
        command = [sys.executable, "-m", "rlhfkit", *settings, f"run_dir={folder}/run"]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        scored = score(settings, Path(folder), splits)
    losses, accuracies = ({name: pair[place] for name, pair in scored.items()} for place in (0, 1))
    return Found(seed, form, round(seconds, 1), losses, accuracies)


@torch.no_grad()
def score(
    settings: list[str], folder: Path, splits: dict[str, list[Row]]
) -> dict[str, tuple[float, float]]:
    """Mean loss of a prompt and share of pairs in order, by split."""
    context = replace(composed(settings, folder), stage="reward_model")
    path = str(folder / "run" / "reward_model" / "model")
    model = context.build("loader").scalar_model(path)
    model.language_model.model.eval()
    text = load_text_format(context)
    limit = context.config.stage.reward_model.max_completion_length
    return {name: _score(model, text, limit, rows) for name, rows in splits.items()}


def _score(
    model: ScalarModel, text: TextFormat, limit: int, rows: list[Row]
) -> tuple[float, float]:
    losses, correct, counted = [], 0, 0
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        elements = [_element(text, limit, row) for row in part]
        for rewards, row in zip(score_elements(model, elements), part, strict=True):
            found = kwise_ranking_loss(rewards, torch.tensor(row["ranks"]))
            losses.append(float(found.loss))
            correct += int(found.correct)
            counted += int(found.pairs)
    return sum(losses) / len(losses), correct / counted


def _element(text: TextFormat, limit: int, row: Row) -> Element:
    prompt = [{"role": "user", "content": row["prompt"]}]
    completions = [text.completion_ids(completion)[:limit] for completion in row["completions"]]
    return Element(text.prompt_ids(prompt), completions, [row["ranks"]])


def _part(row: Row, places: Sequence[int]) -> Row:
    """Some completions of a ranking, with ranks that leave none out."""
    ranks = [row["ranks"][place] for place in places]
    order = sorted(set(ranks))
    return {
        "prompt": row["prompt"],
        "completions": [row["completions"][place] for place in places],
        "ranks": [order.index(rank) + 1 for rank in ranks],
    }


def table(found: Sequence[Found]) -> Table:
    """A row a model."""
    names = ("training loss", "held-out loss", "training accuracy", "held-out accuracy", "seconds")
    columns = [Column(name, justify="right") for name in names]
    shown = Table(Column("seed"), Column("form"), *columns, box=SIMPLE)
    for each in found:
        numbers = [*each.loss.values(), *each.accuracy.values()]
        cells = [*(f"{number:.3f}" for number in numbers), f"{each.seconds:.0f}"]
        shown.add_row(str(each.seed), each.form, *cells)
    return shown


def _parse() -> tuple[argparse.Namespace, list[str]]:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--rankings",
        type=Path,
        nargs="+",
        required=True,
        help="files of JSON lines with prompt, completions and ranks",
    )
    parser.add_argument("--prompts", type=int, default=96, help="to train on")
    parser.add_argument("--held-out", type=int, default=48, help="prompts to measure on")
    parser.add_argument("--completions", type=int, default=4, help="K, of each prompt")
    parser.add_argument("--longest-prompt", type=int, default=400, help="cut, in characters")
    parser.add_argument(
        "--prompts-a-step", type=int, default=8, help="in the form of whole rankings"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1], help="two models are trained for each"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    return parser.parse_known_args()


if __name__ == "__main__":
    sys.exit(main())
