"""How near the training steps come to what the machine can do.

    python benchmarks/roofline.py [--batch 4] [--repetitions 5] [--out DIR]

The operations that SFT, the reward model and PPO carry out, over the time they take, against matrix
products and a memory copy measured in turns with them. SmolLM2-135M's shape with random weights,
the quickstart's lengths and options; nothing is downloaded.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gpu_memory import in_fresh_process
from memory_phases import DeviceMeter
from memory_setup import context_of
from parsers import parser_of
from plan_check import SMOLLM2_135M
from rich import box
from rich.table import Table
from summary import ratios, spread
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

from rlhfkit.console import console
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.planning.phases import Lengths, Rehearsal

STAGES = ("sft", "reward_model", "rl")
PHASES = ("sft", "reward_model", "update")
VARIANTS = {"all": "null", "upper 10": "10"}
"""Layers with adapters; the second is the quickstart's."""

PRODUCTS = ("model's product", "square product")
"""Of the tokens of a batch and an MLP weight; of two large square matrices."""

SQUARE = 2048
HIDDEN, WIDTH = SMOLLM2_135M["hidden_size"], SMOLLM2_135M["intermediate_size"]

_aten = torch.ops.aten


def _for_each_head(count: Callable[..., int]) -> Callable[..., int]:
    """A count for attention whose keys and values have fewer heads than its queries: each query's
    head is one product, whoever shares its keys."""

    def counted(*given: Any, **named: Any) -> int:
        shapes = [item for item in given if isinstance(item, tuple) and len(item) == 4]
        heads = max((shape[1] for shape in shapes), default=0)
        whole = ((s[0], heads, *s[2:]) if s in shapes else s for s in given)
        return count(*whole, **named)

    return counted


ATTENTION = {
    getattr(_aten, f"_scaled_dot_product_{kind}{way}"): _for_each_head(count.__wrapped__)
    for kind in (
        "flash_attention_for_cpu",
        "flash_attention",
        "efficient_attention",
        "cudnn_attention",
    )
    for way, count in (("", sdpa_flop), ("_backward", sdpa_backward_flop))
}
"""PyTorch's counter knows attention on GPUs only, with as many heads of keys as of queries. Counted
as if nothing were masked."""


def main() -> int:
    """The exit status: 0 whatever the numbers are."""
    parser = parser_of(__doc__)
    parser.add_argument("--batch", type=int, default=4, help="sequences, a multiple of 4")
    parser.add_argument("--repetitions", type=int, default=5, help="that are counted")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    options = parser.parse_args()
    if options.batch % 4 or min(options.batch, options.repetitions) < 1:
        parser.error("--batch must be a multiple of 4, and --repetitions positive")
    rows: list[dict[str, Any]] = []
    for layers in VARIANTS:
        console.print(f"adapters in layers: {layers}")
        rows += in_fresh_process("roofline", "measure", layers, options)
    settings = {name: getattr(options, name) for name in ("batch", "repetitions", "seed")}
    hardware = in_fresh_process("hardware", "header", options.device, options.seed)
    console.print(table(rows))
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"hardware": hardware, "settings": settings, "rows": rows}
    (options.out / "roofline.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def measure(layers: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A record per repetition. The first one warms up and counts, and is left out."""
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        overrides = _overrides(layers, options)
        context = context_of(SMOLLM2_135M, overrides, Path(folder), device.type, options.device)
        meter = Counting(device)
        rehearsal = Updates(context, Lengths.of(context.config), meter)
        _steps(rehearsal)
        flops = meter.flops
        rehearsal.meter = timing = DeviceMeter(device)
        records = []
        for repetition in range(options.repetitions):
            products = context.precision.autocast
            rates = machine_rates(device, _tokens(rehearsal, options.batch), products)
            _steps(rehearsal)
            seconds = {phase: timing.readings[phase]["seconds"] for phase in PHASES}
            about = {"layers": layers, "repetition": repetition, "threads": torch.get_num_threads()}
            records.append(about | {"flops": flops, "seconds": seconds, "machine": rates})
    return records


def machine_rates(device: torch.device, tokens: int, dtype: torch.dtype | None) -> dict[str, float]:
    """FLOP/s of matrix products, of the model's own shapes and of large ones; bytes/s of a copy.
    dtype: of the products; None for float32."""
    dtype = dtype or torch.float32
    shapes = dict(zip(PRODUCTS, ((tokens, HIDDEN, WIDTH), (SQUARE,) * 3), strict=True))
    rates = {}
    for name, (rows, inner, columns) in shapes.items():
        left = torch.ones(rows, inner, dtype=dtype, device=device)
        right = torch.ones(columns, inner, dtype=dtype, device=device).T  # as linear layers have it
        seconds = _median_seconds(lambda left=left, right=right: left @ right, device)
        rates[name] = 2 * rows * inner * columns / seconds
    numbers = torch.ones(2**25, device=device)
    rates["copy_bytes"] = 2 * numbers.nbytes / _median_seconds(numbers.clone, device)
    return rates


class Counting(DeviceMeter):
    """FLOPs of every phase, as PyTorch counts them: of matrix products and attention, computed
    again or not."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.flops: dict[str, int] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens meanwhile."""
        counter = FlopCounterMode(display=False, custom_mapping=ATTENTION)
        with counter:
            yield
        self.flops[name] = counter.get_total_flops()


class Updates(Rehearsal):
    """The training phases alone: decoding has a benchmark of its own."""

    def _draw(self, phase: str, model: LanguageModel) -> None:
        """Nothing."""

    def _score(self, *models: Any) -> None:
        """Nothing."""


def table(rows: list[dict[str, Any]]) -> Table:
    """Achieved rates, and their share of the machine's in the same repetition."""
    made = Table(title="GFLOP/s, median [lowest, highest]", box=box.SIMPLE)
    for column in ("", "achieved", *(f"of {name}" for name in PRODUCTS)):
        made.add_column(column)
    for layers in dict.fromkeys(row["layers"] for row in rows):
        group = [row for row in rows if row["layers"] == layers]
        made.add_row(f"[bold]adapters: {layers}")
        for phase in PHASES:
            rates = [row["flops"][phase] / row["seconds"][phase] for row in group]
            machine = [[row["machine"][name] for row in group] for name in PRODUCTS]
            shares = (spread(ratios(rates, product)) for product in machine)
            made.add_row(f"  {phase}", spread([rate / 1e9 for rate in rates]), *shares)
    for name in PRODUCTS:
        made.add_row(name, spread([row["machine"][name] / 1e9 for row in rows]))
    copied = spread([row["machine"]["copy_bytes"] / 1e9 for row in rows])
    made.caption = f"memory copy, bytes read and written: {copied} GB/s"
    return made


def _overrides(layers: str, options: argparse.Namespace) -> list[str]:
    """The quickstart with smaller batches: one of SFT, of rankings and of PPO."""
    return [
        "recipe=quickstart",
        f"seed={options.seed}",
        f"loader.lora_last_layers={VARIANTS[layers]}",
        f"stage.sft.per_device_train_batch_size={options.batch}",
        f"stage.reward_model.per_device_train_batch_size={options.batch // 4}",
        f"stage.rl.batch_size={options.batch}",
        f"stage.rl.micro_batch_size={options.batch}",
        "optimizer.num_mini_batches=1",
        "optimizer.critic_warmup=0",
    ]


def _steps(rehearsal: Rehearsal) -> None:
    for stage in STAGES:
        getattr(rehearsal, stage)()


def _tokens(rehearsal: Rehearsal, batch: int) -> int:
    return batch * (rehearsal.lengths.prompt + rehearsal.lengths.response)


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of five runs behind one that warms up."""
    times = []
    for _ in range(6):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


if __name__ == "__main__":
    sys.exit(main())
