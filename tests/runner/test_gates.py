"""Limits are held against intervals; a run that exceeds one ends with a status of its own."""

import re

import pytest

from rlhfkit.commands.main import _report
from rlhfkit.config.gate import GateConfig
from rlhfkit.errors import GateFailed, UserError
from rlhfkit.runner.gates import check_gates
from rlhfkit.storage.run_dir import RunDir, write_json

RATE = {"value": 0.6, "low": 0.52, "high": 0.68, "count": 100, "level": 0.95}
LOSS = {"value": 0.05, "low": -0.02, "high": 0.12, "count": 30, "level": 0.95}


@pytest.fixture
def run(tmp_path):
    """A run whose policy wins at 0.6 [0.52, 0.68] and lost 0.05 [-0.02, 0.12] nats."""
    found = RunDir(tmp_path / "run")
    folder = found.stage_dir("evaluate")
    folder.mkdir(parents=True)
    write_json(folder / "metrics.json", {"sft": {}, "rl": {"win_rate": RATE, "loss": RATE}})
    entry = {"better": "lower", "deltas": {"base": {"rl": LOSS}}}
    write_json(folder / "tax.json", {"loss": entry})
    return found


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("win_rate", {"min": 0.5}, None),
        ("win_rate", {"min": 0.55}, "gate.win_rate.min=0.55: the win_rate of rl is 0.6 [0.52, "),
        ("win_rate", {"max": 0.7}, None),
        ("win_rate", {"max": 0.65}, "gate.win_rate.max=0.65: the win_rate of rl is 0.6 [0.52, "),
        ("loss", {"max_loss": 0.12}, None),
        (
            "loss",
            {"max_loss": 0.1},
            "gate.loss.max_loss=0.1: rl - base is 0.05 [-0.02, 0.12], lower is better",
        ),
        ("loss", {"max_loss": 0.1, "against": "sft"}, "no paired difference of rl and sft"),
        ("win_rates", {"min": 0.1}, "rl has no such metric; did you mean 'win_rate'?"),
    ],
)
def test_limits(run, name, options, reason):
    gates = {name: GateConfig(**options)}
    if reason is None:
        check_gates(gates, run)
    else:
        with pytest.raises(GateFailed, match=re.escape(reason)):
            check_gates(gates, run)


def test_a_gain_is_no_loss(run):
    entry = {"better": "higher", "deltas": {"base": {"rl": LOSS}}}
    write_json(run.stage_dir("evaluate") / "tax.json", {"loss": entry})
    check_gates({"loss": GateConfig(max_loss=0.02)}, run)


def test_every_reason_is_told_in_one_line(run):
    gates = {"win_rate": GateConfig(min=0.9), "loss": GateConfig(max_loss=0.0)}
    with pytest.raises(GateFailed, match=r"win_rate\.min=0\.9: .*; gate\.loss\.max_loss=0: "):
        check_gates(gates, run)


def test_the_exit_status_is_its_own(capsys):
    with pytest.raises(SystemExit) as left:
        _report(GateFailed("gate.x.min=1: the x of rl is 0"), [])
    assert left.value.code == 3
    assert capsys.readouterr().err == "rlhfkit: gate.x.min=1: the x of rl is 0\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, r"gate\.x: sets no limit; give min, max or max_loss"),
        ({"max_loss": -1}, r"gate\.x\.max_loss=-1: must be a finite number, not negative"),
        ({"mim": 1}, r"gate\.x\.mim: no such option; did you mean 'min'"),
        ({"min": "a"}, r"gate\.x\.min=a: must be a number"),
        ({"min": 1, "against": "bass"}, r"gate\.x\.against=bass: did you mean 'base'"),
    ],
)
def test_wrong_options(options, reason):
    with pytest.raises(UserError, match=reason):
        GateConfig.of("gate.x", options)


def test_a_run_that_exceeds_a_limit_is_complete_and_fails(run_tiny):
    gates = "+gate.length.max=0.5"
    with pytest.raises(GateFailed, match=r"gate\.length\.max=0\.5: the length of sft is "):
        run_tiny("stages=[sft,evaluate]", gates)
    runner = run_tiny("stages=[sft,evaluate]")
    assert runner.run_dir.record("evaluate") is not None
    with pytest.raises(UserError, match=r"gate\.length: sets no limit"):
        run_tiny("stages=[sft,evaluate]", "+gate.length.against=sft")
    with pytest.raises(UserError, match="gate needs the result of stage evaluate"):
        run_tiny("stages=[sft]", "run_name=other", f"run_dir={runner.run_dir.root}-2", gates)
