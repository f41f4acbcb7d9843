"""The memory benchmark on a CPU: it runs, and running out of memory is a result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlhfkit.models.language_model import LanguageModel
from rlhfkit_plugins.loaders.lora import QloraLoader

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PHASES = ["sft", "sample", "reward_model", "rollout", "score", "update"]
SHORT = ("--prompt", "16", "--response", "8", "--repetitions", "2")


def test_the_command_writes_every_phase_of_every_repetition(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu_memory.py", "--models", "tiny", "--caps", "none"]
    done = subprocess.run(
        [*command, "--device", "cpu", *SHORT, "--out", tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "gpu_memory.json").read_text())
    assert result["failures"] == result["skipped_caps_gib"] == []
    assert result["hardware"]["torch"] == torch.__version__
    assert result["settings"]["prompt"] == 16
    assert [run["phase"] for run in result["runs"]] == PHASES * 2
    for run in result["runs"]:
        assert run["fits"]
        assert run["rows_at_once"] == run["rows"] == 8
        assert run["seconds"] > 0 < run["tokens_per_second"]
        assert run["peak_resident_bytes"] > 0
    assert sorted(result["planned_bytes"]["tiny"]) == sorted(PHASES)
    for word in (*PHASES, "tiny", "tokens/s"):
        assert word in done.stdout


@pytest.fixture
def measured(monkeypatch, plugins):
    """`measured(2)`: the records of two short repetitions in this process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from memory_phases import measure
    from memory_setup import Settings

    def run(repetitions=1):
        lengths = {"prompt": 16, "response": 8, "batch": 8}
        settings = Settings(
            **lengths,
            checkpointing=True,
            repetitions=repetitions,
            device="cpu",
            seed=0,
            sampler="cached",
        )
        records = measure("tiny", None, settings)
        assert [record["phase"] for record in records] == PHASES * repetitions
        return records

    return run


@pytest.fixture
def limit_rows(monkeypatch):
    """`limit_rows(n)`: more than n sequences at once do not fit; gives how often that happened."""
    forward = LanguageModel.hidden_states

    def limit(most):
        refused = []

        def limited(self, input_ids, *arguments, **options):
            if len(input_ids) > most:
                refused.append(len(input_ids))
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(self, input_ids, *arguments, **options)

        monkeypatch.setattr(LanguageModel, "hidden_states", limited)
        return refused

    return limit


def test_what_fits_is_reported_and_kept(measured, limit_rows):
    refused = limit_rows(4)
    records = measured(2)
    at_once = {record["phase"]: record["rows_at_once"] for record in records}
    # a prompt and its four completions are one row, and two such rows fit
    assert at_once == dict.fromkeys(PHASES, 4) | {"reward_model": 8}
    phases_that_halve = len(PHASES) - 1
    values_of_ppo = 2  # the optimizer's own, made anew in each repetition
    assert len(refused) == phases_that_halve + values_of_ppo


def test_what_does_not_fit_is_a_result(measured, limit_rows):
    limit_rows(0)
    assert not any(record["fits"] for record in measured())


def test_models_that_do_not_fit_are_a_result(measured, monkeypatch):
    def fail(self, *paths):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(QloraLoader, "roles", fail)
    fits = {record["phase"]: record["fits"] for record in measured()}
    assert fits == dict.fromkeys(PHASES[:3], True) | dict.fromkeys(PHASES[3:], False)
