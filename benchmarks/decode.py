"""Tokens per second of the samplers, beside the machine's own limits.

    python benchmarks/decode.py [--shape 135m] [--batch 32] [--completions 4] [--out DIR]

A policy as in RL (LoRA r = 16 on the upper third of the layers, float32, random weights: nothing
is downloaded) answers prompts of which each stands `--completions` times in the batch. No sequence
ends early. Repetitions of the variants alternate; the first one of each warms up.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from decode_setup import SHAPES, copy_rate, policy, product_rate, seconds_of, variants
from hardware import header
from parsers import parser_of
from rich.table import Table

from rlhfkit.console import console
from rlhfkit.models.language_model import LanguageModel


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = _parse()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        model = policy(options, Path(folder))
    limits = {"copied_bytes_per_second": copy_rate(), "flop_per_second": product_rate()}
    rows = _measure(model, options)
    console.print(_table(rows, limits))
    result = {
        "hardware": header("cpu", options.seed),
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "limits": limits,
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "decode.json").write_text(json.dumps(result, indent=1) + "\n")


def _measure(model: LanguageModel, options: argparse.Namespace) -> list[dict[str, Any]]:
    compared = variants(options)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for repetition in range(options.repetitions + 1):
        for name, (draw, _) in compared.items():
            seconds[name].append(seconds_of(draw, model, options, repetition))
    return [
        _row(name, seconds[name][1:], read, model, options) for name, (_, read) in compared.items()
    ]


def _parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="135m", help="of the model")
    parser.add_argument("--batch", type=int, default=32, help="sequences at once")
    parser.add_argument("--completions", type=int, default=4, help="of each prompt in the batch")
    parser.add_argument("--prompt", type=int, default=40, help="tokens")
    parser.add_argument("--response", type=int, default=24, help="tokens")
    parser.add_argument("--repetitions", type=int, default=5, help="that are counted")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and draws")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    options = parser.parse_args()
    numbers = (options.batch, options.completions, options.prompt, options.response)
    if min(*numbers, options.repetitions, options.threads) < 1:
        parser.error("lengths, sizes, repetitions and threads must be positive")
    if options.batch % options.completions:
        parser.error("--batch: must be a multiple of --completions")
    return options


def _row(
    name: str,
    seconds: list[float],
    read: int,
    model: LanguageModel,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Products with weights only are counted: a body's for every token read, the head's for every
    token drawn; all weights are read once a step."""
    drawn = options.batch * options.response
    head = model.head.weight.numel()
    body = sum(item.numel() for item in model.body.parameters()) - head
    median = statistics.median(seconds)
    return {
        "variant": name.strip(),
        "seconds": seconds,
        "tokens_per_second": sorted(drawn / value for value in seconds),
        "flop_per_second": 2 * (body * read + head * drawn) / median,
        "weight_bytes_per_second": 4 * (body + head) * options.response / median,
    }


def _table(rows: list[dict[str, Any]], limits: dict[str, float]) -> Table:
    table = Table("variant", "tokens/s (min, median, max)", "GFLOP/s", "weights read GB/s")
    for row in rows:
        rates = row["tokens_per_second"]
        spread = f"{rates[0]:.0f}, {statistics.median(rates):.0f}, {rates[-1]:.0f}"
        flop, read = row["flop_per_second"] / 1e9, row["weight_bytes_per_second"] / 1e9
        table.add_row(row["variant"], spread, f"{flop:.1f}", f"{read:.1f}")
    flop, copied = limits["flop_per_second"] / 1e9, limits["copied_bytes_per_second"] / 1e9
    table.add_row("limit: product, copy", "", f"{flop:.1f}", f"{copied:.1f}")
    return table


if __name__ == "__main__":
    main()
