"""Runs on the virtual card beside runs on the CPU, stopped ones and starved ones."""

import json
import subprocess
import sys
from itertools import product

import pytest

LOADERS = ("lora", "qlora", "full")
TIMES = ("time/", "train_runtime", "train_s", "eval_runtime", "eval_s", "step_time")


@pytest.fixture
def numbers(card_process, tmp_path):
    """`numbers(loader, dtype, on_card=True)`: what the trained stages log."""

    def run(loader, dtype, on_card, **env):
        place = str(tmp_path / f"{dtype}-{on_card}")
        command = ["-m", "tests.virtual_card.numbers", loader, dtype, place]
        if on_card:
            return json.loads(card_process(*command, **env))
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    return run


def pairs(one, other):
    """Every logged number of two runs, by stage, row and name."""
    for stage in one:
        assert len(one[stage]) == len(other[stage])
        for place, (row, beside) in enumerate(zip(one[stage], other[stage], strict=True)):
            assert row.keys() == beside.keys()
            for name in row:
                if not name.startswith(TIMES):
                    yield f"{stage} {place} {name}", row[name], beside[name]


@pytest.mark.parametrize("loader", ["lora", "full"])
def test_in_float32_the_card_gives_the_cpus_numbers(numbers, loader):
    """Not with qlora: bitsandbytes quantises by other kernels on a CPU, and 1 % is between them."""
    card, cpu = (numbers(loader, "float32", on_card) for on_card in (True, False))
    for name, value, expected in pairs(card, cpu):
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize(
    ("loader", "capability"), [*product(LOADERS, ["8.9"]), ("lora", "7.5"), ("full", "7.5")]
)
def test_in_sixteen_bits_losses_are_near_those_of_float32(numbers, loader, capability):
    """bfloat16, and float16 on a card without it."""
    card = {"VIRTUAL_CUDA_CAPABILITY": capability}
    half, single = (numbers(loader, dtype, True, **card) for dtype in ("auto", "float32"))
    for stage in ("sft", "reward_model"):
        rounded, exact = (run[stage][-1]["train_loss"] for run in (half, single))
        assert rounded == pytest.approx(exact, rel=0.02)
        assert rounded != exact
    assert all(row["sampling/logprob_drift"] < 0.02 for row in half["rl"])


@pytest.mark.parametrize(
    ("sampler", "capability"), [("cached", "8.9"), ("generate", "8.9"), ("cached", "7.5")]
)
def test_a_stopped_run_ends_as_if_it_had_not_been(card_process, tmp_path, sampler, capability):
    """Bit by bit: the virtual card's kernels, unlike a real one's, always add in one order."""
    command = ("-m", "tests.virtual_card.stopped", sampler, str(tmp_path / "runs"))
    printed = card_process(*command, VIRTUAL_CUDA_CAPABILITY=capability)
    found = json.loads(printed)
    assert found["different"] == []
    assert found["files"] > 20


@pytest.mark.parametrize("loader", LOADERS)
def test_memory_that_runs_out_changes_no_number(card_process, tmp_path, loader):
    printed = card_process("-m", "tests.virtual_card.starved", loader, str(tmp_path / "runs"))
    found = json.loads(printed)
    trained = {"sft training", "reward_model training", "the update", "values"}
    assert trained | {"reference log-probabilities"} <= set(found["phases"]["starved"])
    assert "sampling" in found["phases"]["sampled"]
    enough, starved = found["metrics"]["enough"], found["metrics"]["starved"]
    stages = [name for name in enough if name.split("/")[0] in ("sft", "reward_model", "rl")]
    assert len(stages) == 3
    for stage in stages:
        both = ({stage: runs[stage]} for runs in (enough, starved))
        for name, value, expected in pairs(*both):
            assert value == pytest.approx(expected, rel=1e-3, abs=1e-4), name
