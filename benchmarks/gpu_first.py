"""The first minutes on a GPU: is it right, does it fit, how fast is it?

    python benchmarks/gpu_first.py [--out DIR] [--steps NAME ...]
    python benchmarks/gpu_first.py --rehearse --device cpu --out DIR       # tries it out, tiny

Steps come in the order of their worth. Each runs in a process of its own under a time limit and
writes a JSON file before the next begins, so a lease that ends early loses one step.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from memory_setup import Settings
from parsers import parser_of

from rlhfkit.console import console


@dataclass(frozen=True)
class FirstSettings(Settings):
    """What is the same for all steps."""

    tiny: bool = False
    """Whether tiny models stand in for all, and nothing is capped."""

    def shape(self, model: str) -> str:
        """The name of the model to make."""
        return "tiny" if self.tiny else model


SETTINGS = FirstSettings(
    prompt=256,
    response=128,
    batch=8,
    checkpointing=True,
    repetitions=2,
    device="cuda:0",
    seed=0,
    sampler="graph",
)
REHEARSED = replace(SETTINGS, prompt=24, response=12, repetitions=1, tiny=True)

Measured = Mapping[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """One question. `seconds`: how long it may take."""

    run: Callable[[FirstSettings], Measured]
    seconds: int


def main() -> int:
    """The exit status: 1 where a step failed."""
    options = _parse()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.child:
        settings = replace(REHEARSED if options.rehearse else SETTINGS, device=options.device)
        _write(options.out, options.child, STEPS[options.child].run(settings))
        return 0
    statuses = [_in_time(name, options) for name in options.steps]
    return int(any(statuses))


def _parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    parser.add_argument("--device", default="cuda:0", help="cuda:0, cuda:1, ... or cpu")
    parser.add_argument(
        "--steps", nargs="+", choices=STEPS, default=list(STEPS), help="which ones, in this order"
    )
    parser.add_argument("--rehearse", action="store_true", help="tiny models, nothing capped")
    parser.add_argument("--child", choices=STEPS, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_time(name: str, options: argparse.Namespace) -> int:
    """Run one step; the exit status of its process, 124 where its time ran out."""
    started = time.monotonic()
    command = [sys.executable, __file__, "--child", name]
    command += ["--device", options.device, "--out", str(options.out)]
    command += ["--rehearse"] if options.rehearse else []
    try:
        status = subprocess.run(command, timeout=STEPS[name].seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        status = 124
    console.print(f"{name}: status {status}, {time.monotonic() - started:.0f} s")
    return status


def _write(out: Path, name: str, measured: Measured) -> None:
    content = {"step": name, "measured": measured}
    (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def hardware(settings: FirstSettings) -> Measured:
    """What it ran on."""
    from hardware import header

    return {**header(settings.device, settings.seed), "settings": asdict(settings)}


def parity(settings: FirstSettings) -> Measured:
    """Roles on one base beside models of their own."""
    from gpu_parity import shared_roles

    found = shared_roles(settings)
    console.print_json(data=found)
    return found


def whole_run(settings: FirstSettings) -> Measured:
    """A tiny run here and on the CPU."""
    from gpu_parity import tiny_runs

    found = tiny_runs(settings)
    console.print_json(data=found)
    return found


def memory(model: str, cap: float | None) -> Callable[[FirstSettings], Measured]:
    """Peaks and seconds of QLoRA PPO-ptx by phase, on a card of `cap` GiB, beside the plan."""

    def run(settings: FirstSettings) -> Measured:
        from gpu_memory import in_fresh_process
        from memory_phases import measure
        from memory_table import table

        shape, limit = settings.shape(model), None if settings.tiny else cap
        with ThreadPoolExecutor(1) as pool:  # the plan is made on a CPU meanwhile
            planning = pool.submit(in_fresh_process, "memory_phases", "plan", shape, settings)
            runs = measure(shape, limit, settings)
            planned = planning.result()
        console.print(table(runs, {shape: planned}))
        return {"planned_bytes": planned, "runs": runs, "outside_bytes": _outside(settings.device)}

    return run


def _outside(device: str) -> int | None:
    """What this process and the driver hold beside PyTorch's memory: the CUDA context, kernels,
    the libraries' own workspaces."""
    if not device.startswith("cuda"):
        return None
    free, total = torch.cuda.mem_get_info(device)
    return int(total - free - torch.cuda.memory_reserved(device))


def decoding(model: str, batches: Sequence[int]) -> Callable[[FirstSettings], Measured]:
    """Tokens a second of every sampler."""

    def run(settings: FirstSettings) -> Measured:
        import decode_gpu

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "decode.json"
            words = ["--models", settings.shape(model), "--device", settings.device]
            words += ["--tokens", "20" if settings.tiny else "64", "--out", str(file)]
            decode_gpu.main([*words, "--batches", *map(str, batches)])
            measured: Measured = json.loads(file.read_text(encoding="utf-8"))
        return measured

    return run


def update_rate(settings: FirstSettings) -> Measured:
    """What an update computes in a second, as a share of a large matrix product's rate."""
    from memory_phases import DeviceMeter
    from memory_setup import SHAPES, context_of, overrides
    from roofline import Counting, Updates, machine_rates

    from rlhfkit.planning.phases import Lengths

    device = torch.device(settings.device)
    shape = SHAPES[settings.shape("1.5b")]
    settings = replace(settings, batch=16)
    with tempfile.TemporaryDirectory() as folder:
        context = context_of(shape, overrides(settings), Path(folder), device.type, settings.device)
        counting = Counting(device)
        rehearsal = Updates(context, Lengths.of(context.config), counting)
        rehearsal.rl()
        rehearsal.meter = timing = DeviceMeter(device)
        for _ in range(2):  # the first warms up
            rehearsal.rl()
        rates = machine_rates(device, settings.tokens("score"), context.precision.autocast)
    seconds = timing.readings["update"]["seconds"]
    rate = counting.flops["update"] / seconds
    found = {"seconds": seconds, "flops": counting.flops["update"], "machine": rates}
    found |= {"share": rate / rates["square product"], **timing.readings["update"]}
    console.print_json(data=found)
    return found


STEPS = {
    "hardware": Step(hardware, 30),
    "parity": Step(parity, 60),
    "whole_run": Step(whole_run, 90),
    "decoding_1.5b": Step(decoding("1.5b", (32, 64, 8)), 110),
    "memory_1.5b_6": Step(memory("1.5b", 6), 90),
    "memory_8b_12": Step(memory("8b", 12), 90),
    "update_rate": Step(update_rate, 60),
    "memory_14b_24": Step(memory("14b", 24), 110),
    "decoding_8b": Step(decoding("8b", (32,)), 110),
    "memory_8b_24": Step(memory("8b", 24), 90),
}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(1)
