"""Milliseconds of a linear layer's products by torch's own library and by oneDNN.

    python benchmarks/onednn.py [--repetitions 5] [--out DIR]

The layers of SmolLM2-135M and its head, rows as in decoding and in an update, forwards and the
gradient of the states; the two take turns. `rlhfkit/rl/onednn.py` is used on AMD's processors with
AVX-512.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product

import torch
from hardware import header
from parsers import parse_repeated
from rich.box import SIMPLE
from rich.table import Column, Table
from summary import ratios, spread
from torch import Tensor
from torch.nn.functional import linear

from rlhfkit.console import console
from rlhfkit.rl import onednn

SHAPES = {"attention": (576, 576), "MLP": (1536, 576), "head": (49152, 576)}
ROWS = (16, 64, 700)
CALLS = 3
"""In a repetition."""

Times = dict[str, dict[str, list[float]]]


def main() -> int:
    """The exit status."""
    options = parse_repeated(__doc__)
    times = measure(options.repetitions)
    console.print(table(times))
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "onednn.json"
    result = {"hardware": header("cpu", seed=0), "milliseconds": times}
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(f"written: {file}", soft_wrap=True)
    return 0


def measure(repetitions: int) -> Times:
    """By what is computed, then by library, the milliseconds of each repetition."""
    times: Times = {}
    for (name, (wide, narrow)), rows in product(SHAPES.items(), ROWS):
        weight, states, grad = (
            torch.randn(*shape) for shape in ((wide, narrow), (rows, narrow), (rows, wide))
        )
        for way, given, factor in (("forwards", states, weight), ("backwards", grad, weight.t())):
            times[f"{name}, {rows} rows, {way}"] = _in_turns(given, factor, repetitions)
    return times


def _in_turns(given: Tensor, factor: Tensor, repetitions: int) -> dict[str, list[float]]:
    ways = {"torch": lambda: linear(given, factor), "oneDNN": lambda: _by_onednn(given, factor)}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(repetitions + 1):
        for name, way in ways.items():
            seconds = _milliseconds(way)
            if repetition:  # the first one warms up
                found[name].append(seconds)
    return found


def _by_onednn(given: Tensor, factor: Tensor) -> Tensor:
    return onednn._multiply(given, factor)  # whatever the processor


def _milliseconds(way: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        way()
    return (time.perf_counter() - start) / CALLS * 1000


def table(times: Times) -> Table:
    """One row for each product: medians, and of the ratio also [lowest, highest]."""
    names = ("product", "torch, ms", "oneDNN, ms", "torch / oneDNN")
    made = Table(*(Column(name, justify="right", no_wrap=True) for name in names), box=SIMPLE)
    for name, by in times.items():
        middle = [f"{statistics.median(by[library]):.2f}" for library in ("torch", "oneDNN")]
        made.add_row(name, *middle, spread(ratios(by["torch"], by["oneDNN"])))
    return made


if __name__ == "__main__":
    sys.exit(main())
