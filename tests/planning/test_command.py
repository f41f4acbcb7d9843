"""`rlhfkit plan`, and the check before a run, as a user meets them."""

from io import StringIO

import pytest
from rich.console import Console

from rlhfkit.config.memory_size import GIB
from rlhfkit.planning import command
from rlhfkit.planning.card import Card
from rlhfkit.planning.meter import PARTS
from rlhfkit.planning.plan import SERVER, PhasePlan
from rlhfkit.planning.rates import ASSUMED
from tests.commands.test_main import rlhfkit


@pytest.fixture
def tiny(tiny_overrides, tmp_path):
    """`tiny("plan", "gpu=2GB")`: the command on the tiny run's settings, in an empty directory."""

    def run(*arguments, check):
        verb = [item for item in arguments if "=" not in item]
        options = [item for item in arguments if "=" in item]
        return rlhfkit(*verb, "run_name=x", *tiny_overrides, *options, cwd=tmp_path, check=check)

    return run


def test_a_plan_shows_every_phase_and_leaves_no_trace(tiny, tmp_path):
    done = tiny("plan", "gpu=2GB", check=0)
    for phase in ("sft", "sample", "reward_model", "rollout", "score", "update", "evaluate"):
        assert f"\n {phase} " in done.stdout
    assert "fits: " in done.stdout
    assert "of the 1.0 GB that a card of 2 GB leaves to tensors" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_fit_says_so_before_anything_is_loaded(tiny, tmp_path):
    done = tiny("gpu=640MB", "loader=lora", check=2)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("rlhfkit: does not fit: ")
    assert lines[0].endswith("nothing but a smaller model or shorter texts would")
    assert not (tmp_path / "runs").exists()


def test_only_some_stages_and_a_trainer_that_is_not_planned(tiny):
    done = tiny("plan", "stages=[sft,rl]", "optimizer=dpo", check=0)
    assert "\n sft " in done.stdout
    assert "\n sample " not in done.stdout
    assert "optimizer=dpo: a trainer of TRL's, not planned" in done.stdout


def test_a_size_that_is_none(tiny):
    done = tiny("plan", "gpu=12", check=2)
    assert done.stderr.strip() == "rlhfkit: gpu=12: not a size; write it as in gpu=12GB"


def test_stages_without_a_model_have_no_plan(tiny):
    done = tiny("plan", "stages=[label,report]", check=2)
    assert done.stderr.strip() == (
        "rlhfkit: stages=['label', 'report']: none of them has a model on the device"
    )


@pytest.mark.parametrize("sampler", ["generate", "continuous"])
def test_a_sampler_that_looks_at_values_is_planned_as_another(tiny, sampler):
    """Its own loop would never end on fake tensors, and the check before a run with it."""
    done = tiny("plan", "gpu=2GB", "stages=[sample]", f"sampler={sampler}", check=0)
    plain = tiny("plan", "gpu=2GB", "stages=[sample]", check=0)
    assert f"sampler={sampler}: counted as if sampler=cached" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith(" sample"))
    assert row in plain.stdout


@pytest.mark.parametrize(
    ("seconds", "whole", "shown"),
    [
        (531, False, "531 s/1k"),
        (600, True, "10 min"),
        (5_400, False, "90 min/1k"),
        (356_000, False, "98.9 h/1k"),
        (76e6, True, "21111 h"),
    ],
)
def test_no_number_is_cut_at_80_columns(make_context, seconds, whole, shown):
    """Neither of a model of 70B nor of a stage with a long name: names fold before numbers do."""
    largest = dict.fromkeys(PARTS, 1234.5 * GIB) | {"base": 259.9 * GIB}
    names = ("reward_model", "a_stage_of_a_plugin reward_model")
    plan = {name: PhasePlan("rl", largest, seconds, whole) for name in names}
    printed = Console(width=80, file=StringIO())
    printed.print(command._table(make_context().config, plan))
    lines = printed.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "259.90" in line]
    assert [row[1:9] for row in rows] == [["259.90", *["1234"] * 6, "7667"]] * 2
    assert [" ".join(row[9:]) for row in rows] == [shown] * 2
    assert rows[0][0] == "reward_model"


def plan_with(served, card):
    parts = {"base": GIB, "activations": 2 * GIB, SERVER: served * card.size}
    return {"rollout": PhasePlan("rl", parts, 1.0, True)}


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (0.4, "fits: rollout peaks at 7.8 GB of the 10.5 GB that a card of 12 GB leaves"),
        (
            0.7,
            "does not fit: rollout needs 11.4 GB (8.4 GB of them the sampler's server) of the 10.5 "
            "GB that a card of 12 GB leaves to tensors; it would with 0.62 of the card for "
            "sampler=server",
        ),
    ],
)
def test_what_a_server_leaves(make_context, monkeypatch, served, said):
    monkeypatch.setattr(command, "nearest_fit", lambda *_: None)
    context = make_context("sampler=server", "sampler.launch=true")
    card = Card(12 * GIB)
    assert command._verdict(context, plan_with(served, card), card, ASSUMED).startswith(said)
