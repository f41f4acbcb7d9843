"""Memory and speed of every phase of QLoRA PPO-ptx, on cards of several sizes.

    python benchmarks/gpu_memory.py [--models 1.5b 8b 14b] [--caps 8 12 16 24] [--out DIR]

Small cards are played by a limit on what a process may allocate. Weights are random and made from
configurations: nothing is downloaded. `--models tiny --caps none --device cpu` tries it out.
"""

import argparse
import importlib
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from memory_setup import GIB, SHAPES, Settings
from memory_table import cap_name, table
from parsers import parser_of

from rlhfkit.console import console


def main() -> int:
    """The exit status: 1 where something failed other than by memory."""
    options = _parse()
    settings = Settings(**{item.name: getattr(options, item.name) for item in fields(Settings)})
    hardware = in_fresh_process("hardware", "header", settings.device, settings.seed)
    if settings.device != "cpu" and hardware["gpu"] is None:
        console.print("no CUDA device; to try it out: --models tiny --caps none --device cpu")
        return 2
    caps, skipped = _caps(options.caps, hardware)
    planned, runs, failures = _measure_all(options.models, caps, settings)
    result = {
        "hardware": hardware,
        "settings": asdict(settings),
        "skipped_caps_gib": skipped,
        "planned_bytes": planned,
        "failures": failures,
        "runs": runs,
    }
    console.print(table(runs, planned))
    _write(options.out / "gpu_memory.json", result)
    return 1 if failures else 0


def _parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--models", nargs="+", choices=SHAPES, default=["1.5b", "8b", "14b"], help="shapes"
    )
    parser.add_argument("--caps", nargs="+", default=["8", "12", "16", "24"], help="GiB, or none")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    parser.add_argument("--device", default="cuda:0", help="cuda:0, cuda:1, ... or cpu")
    parser.add_argument("--prompt", type=int, default=256, help="tokens")
    parser.add_argument("--response", type=int, default=128, help="tokens")
    parser.add_argument("--batch", type=int, default=8, help="sequences at once")
    parser.add_argument("--repetitions", type=int, default=3, help="the first of which warms up")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and draws")
    parser.add_argument(
        "--sampler",
        choices=("cached", "graph"),
        default="cached",
        help="what draws in sample and rollout",
    )
    parser.add_argument(
        "--checkpointing",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="gradient checkpointing",
    )
    options = parser.parse_args()
    options.caps = [None] if options.caps == ["none"] else [float(cap) for cap in options.caps]
    if options.device == "cpu" and options.caps != [None]:
        parser.error("--device cpu: only GPUs can be capped; add --caps none")
    if min(options.prompt, options.response, options.batch, options.repetitions) < 1:
        parser.error("--prompt, --response, --batch and --repetitions must be positive")
    return options


def _caps(
    wanted: Sequence[float | None], hardware: dict[str, Any]
) -> tuple[list[float | None], list[float]]:
    """Caps that the card can play, and the others, of which a line tells."""
    total = hardware["gpu"]["memory_bytes"] / GIB if hardware["gpu"] else 0.0
    skipped = [cap for cap in wanted if cap is not None and cap > total]
    for cap in skipped:
        console.print(f"{cap_name(cap)} skipped: the card has {total:.1f}")
    return [cap for cap in wanted if cap not in skipped], skipped


def _measure_all(
    models: Sequence[str], caps: Sequence[float | None], settings: Settings
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """Plans by model, records, and what failed for other reasons than memory."""
    planned: dict[str, Any] = {}
    runs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []

    def attempt(step: str, *arguments: Any) -> Any:
        console.print(" ".join([step, *map(str, arguments)]))
        try:
            return in_fresh_process("memory_phases", step, *arguments, settings)
        except Exception as error:  # of any kind: the other models and caps are still measured
            failures.append({"step": step, "of": arguments, "error": repr(error)})
            console.print(f"failed: {error!r}", markup=False, soft_wrap=True)
            return None

    for model in models:
        planned[model] = attempt("plan", model)
        for cap in caps:
            runs += attempt("measure", model, cap) or []
    return planned, runs, failures


def in_fresh_process(module: str, function: str, *arguments: Any) -> Any:
    """A function's result. A device's memory is then as if nothing had run before, and so is what
    a process may allocate of it."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_call, module, function, *arguments).result()


def _call(module: str, function: str, *arguments: Any) -> Any:
    return getattr(importlib.import_module(module), function)(*arguments)


def _write(file: Path, result: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(f"written: {file}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
