"""The phases of a run on a real device, with random weights; what each takes."""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from memory_setup import COMPLETIONS, GIB, Settings, make_context
from torch import Tensor

from rlhfkit.models.batch_size import DoesNotFit, is_out_of_memory
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.planning.phases import Lengths, Rehearsal, different_prompts
from rlhfkit.types import Ends

STAGES = {
    "sft": ("sft",),
    "sample": ("sample",),
    "reward_model": ("reward_model",),
    "rl": ("rollout", "score", "update"),
}


def measure(model: str, cap: float | None, settings: Settings) -> list[dict[str, Any]]:
    """A record per repetition and phase; to be called once in a process. cap: GiB."""
    device = torch.device(settings.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if cap is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(cap * GIB / total, device)
    with tempfile.TemporaryDirectory() as folder:
        context = make_context(model, settings, Path(folder), settings.device)
        rehearsal = Measured(context, Lengths.of(context.config), DeviceMeter(device))
        about = {"model": model, "cap_gib": cap}
        return [
            {**about, "repetition": repetition, **record}
            for repetition in range(settings.repetitions)
            for record in _repetition(rehearsal, settings)
        ]


def plan(model: str, settings: Settings) -> dict[str, float] | None:
    """The planner's bytes by phase; None where this version has no planner."""
    try:
        from rlhfkit.planning.meter import Rates
        from rlhfkit.planning.plan import plan_run
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        context = make_context(model, settings, Path(folder), "cpu")
        found = plan_run(context, Rates(flops=1.0, bytes=1.0), STAGES)  # its times are not read
    return {name: phase.peak for name, phase in found.items()}


class DeviceMeter:
    """Seconds and peak memory of every phase; a phase that runs out of memory has none."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.readings: dict[str, dict[str, float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens meanwhile; what follows goes on if memory runs out."""
        self._start()
        started = time.perf_counter()
        try:
            yield
            self._synchronise()
            seconds = time.perf_counter() - started
            self.readings[name] = {"seconds": seconds, **self._peaks()}
        except (RuntimeError, DoesNotFit) as error:
            if not _no_memory(error):
                raise

    def next_phase(self, name: str) -> None:
        """Nothing: phases are measured whole."""

    def counting_as(self, part: str) -> nullcontext[None]:
        """Nothing: a device does not tell parts apart."""
        return nullcontext()

    def set_part(self, part: str) -> str:
        """Nothing."""
        return part

    def mark(self, tensor: Tensor, part: str) -> None:
        """Nothing."""

    def _start(self) -> None:
        clear_device_cache(garbage_collection=True)
        self._synchronise()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _peaks(self) -> dict[str, float]:
        if self._device.type == "cuda":
            return {
                "peak_allocated_bytes": torch.cuda.max_memory_allocated(self._device),
                "peak_reserved_bytes": torch.cuda.max_memory_reserved(self._device),
            }
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"peak_resident_bytes": peak}


class Measured(Rehearsal):
    """Samples answers of the full length, where the planner needs the first tokens only."""

    _sampler_in_rl: Any = None
    """What it keeps from call to call is there while the policy is updated."""

    def rl(self) -> None:
        """The sampler is released with the models."""
        try:
            super().rl()
        finally:
            self._sampler_in_rl = None

    def _draw(self, phase: str, model: LanguageModel) -> None:
        sampler = self.context.build("sampler")
        sampler.batch_size = self.sizes.setdefault(phase, sampler.batch_size)
        rows = self.context.config.sampler.batch_size
        prompts = different_prompts(rows, self.lengths.prompt)
        generator = torch.Generator(model.device).manual_seed(self.context.config.seed)
        with self.meter.phase(phase):
            sampler.sample(model, prompts, Ends((-1,)), generator)
        if phase == "rollout":
            self._sampler_in_rl = sampler


def _no_memory(error: Exception) -> bool:
    return isinstance(error, DoesNotFit) or (
        isinstance(error, RuntimeError) and is_out_of_memory(error)
    )


def _repetition(rehearsal: Measured, settings: Settings) -> list[dict[str, Any]]:
    """All phases once. Sizes that fitted before are kept, so that later ones do not fail first."""
    torch.manual_seed(settings.seed)
    meter = rehearsal.meter = DeviceMeter(rehearsal.context.device)
    for stage in STAGES:
        _run(rehearsal, stage)
        clear_device_cache(garbage_collection=True)
    phases = [phase for names in STAGES.values() for phase in names]
    return [_record(phase, meter.readings.get(phase), rehearsal, settings) for phase in phases]


def _run(rehearsal: Measured, stage: str) -> None:
    """A stage; where not even its models fit, its phases have no readings."""
    try:
        getattr(rehearsal, stage)()
    except RuntimeError as error:
        if not _no_memory(error):
            raise


def _record(
    phase: str, reading: dict[str, float] | None, rehearsal: Measured, settings: Settings
) -> dict[str, Any]:
    record: dict[str, Any] = {"phase": phase, "fits": reading is not None}
    record["rows"] = settings.rows(phase)
    if reading is None:
        return record
    unit = COMPLETIONS if phase == "reward_model" else 1
    tokens = settings.tokens(phase)
    return {
        **record,
        "rows_at_once": rehearsal.sizes[phase].size * unit,
        "tokens": tokens,
        "tokens_per_second": tokens / reading["seconds"],
        **reading,
    }
