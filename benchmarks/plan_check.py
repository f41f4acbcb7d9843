"""`rlhfkit plan` against the memory that the same phases really take, on a CPU.

    python benchmarks/plan_check.py [--only NAME ...] [--out DIR]

Measured is what the operating system counts: the highest resident memory of a phase, less that of
the process before any model was made.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gpu_memory import in_fresh_process
from memory_phases import STAGES, DeviceMeter, Measured
from memory_setup import configured, context_of
from parsers import parser_of
from rich.table import Table

from rlhfkit.console import console
from rlhfkit.planning.meter import Rates
from rlhfkit.planning.phases import Lengths

MIB = 2**20

SMALL = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 1536,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}
SMOLLM2_135M = {
    **SMALL,
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
}

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "small-lora": (SMALL, ["loader=lora", *configured(64, 64, 8)]),
    "small-full": (SMALL, ["loader=full", *configured(64, 64, 4)]),
    "small-qlora": (SMALL, ["loader=qlora", *configured(96, 32, 8)]),
    "small-checkpointing": (SMALL, ["loader=lora", *configured(64, 64, 16, True)]),
    "small-long": (SMALL, ["loader=lora", *configured(32, 224, 4)]),
    "135m-lora": (SMOLLM2_135M, ["loader=lora", *configured(64, 64, 16)]),
    "135m-lora-micro-4": (
        SMOLLM2_135M,
        ["loader=lora", *configured(64, 64, 16), "stage.rl.micro_batch_size=4"],
    ),
    "135m-upper-10": (
        SMOLLM2_135M,
        ["loader=lora", "loader.lora_last_layers=10", *configured(96, 24, 8)],
    ),
    "quickstart": (SMOLLM2_135M, ["recipe=quickstart", "optimizer.critic_warmup=0"]),
}
"""Model size, loader, batch, lengths and checkpointing varied."""


def main() -> int:
    """The exit status: 1 where a plan is more than a tenth off."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="cases")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    options = parser.parse_args()
    _begin_anew()
    rows = []
    for name in options.only:
        console.print(name)
        planned = in_fresh_process("plan_check", "plan", name)
        measured = in_fresh_process("plan_check", "measure", name)
        rows.append({"case": name, "planned": planned, **measured})
    console.print(_table(rows))
    result = {"hardware": in_fresh_process("hardware", "header", "cpu", 0), "rows": rows}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "plan_check.json").write_text(json.dumps(result, indent=1) + "\n")
    return int(any(abs(_off(row)) > 0.1 for row in rows))


def _begin_anew() -> None:
    """The same command with an allocator that gives freed memory back to the system at once, so
    that resident memory follows what is live."""
    if os.environ.get("MALLOC_MMAP_THRESHOLD_") is None:
        settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **settings})


def plan(name: str) -> dict[str, float]:
    """The planner's bytes by phase."""
    from rlhfkit.planning.plan import plan_run

    with tempfile.TemporaryDirectory() as folder:
        found = plan_run(_context(name, folder), Rates(1.0, 1.0), STAGES)
    return {phase: made.peak for phase, made in found.items()}


def measure(name: str) -> dict[str, Any]:
    """Bytes by phase above the process without a model, and the highest of the whole process."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        context = _context(name, folder)
        context.accelerator  # noqa: B018 (made here, so that it belongs to the process)
        meter = ResidentMeter()
        rehearsal = Measured(context, Lengths.of(context.config), meter)
        for stage in STAGES:
            getattr(rehearsal, stage)()
    peaks = {phase: found["peak_resident_bytes"] for phase, found in meter.readings.items()}
    return {"measured": peaks, "process": max(peaks.values()) + meter.before}


class ResidentMeter(DeviceMeter):
    """Resident memory, with its high-water mark set back before every phase (Linux)."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.before = _status("VmRSS")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens meanwhile."""
        self._start()
        Path("/proc/self/clear_refs").write_text("5")
        yield
        self.readings[name] = {"peak_resident_bytes": _status("VmHWM") - self.before}


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _context(name: str, folder: str) -> Any:
    shape, overrides = CASES[name]
    return context_of(shape, overrides, Path(folder), "cpu", "cpu")


def _off(row: dict[str, Any]) -> float:
    """How far the plan's highest phase is above the measured highest phase."""
    return float(max(row["planned"].values()) / max(row["measured"].values()) - 1)


def _table(rows: list[dict[str, Any]]) -> Table:
    phases = list(rows[0]["planned"])
    table = Table("case", *phases, "peak off", title="planned / measured, MiB")
    for row in rows:
        cells = [
            f"{row['planned'][phase] / MIB:.0f} / {row['measured'][phase] / MIB:.0f}"
            for phase in phases
        ]
        table.add_row(row["case"], *cells, f"{_off(row):+.1%}")
    return table


if __name__ == "__main__":
    sys.exit(main())
