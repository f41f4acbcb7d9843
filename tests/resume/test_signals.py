"""A run that is asked to stop says how to go on, and goes on only with what it was started with."""

import os
import signal

import pytest

from rlhfkit.commands import main
from rlhfkit.online.logprob_drift import SamplingDrift
from tests.distributed.launching import launch
from tests.resume.comparing import contents

SHORT = ("stages=[sample,rl]", "reward=[length]", "stage.sample.models=[base]")


@pytest.fixture
def command(tiny_overrides, tmp_path, capsys):
    """`command("kl=fixed")`: exit status and what the command says."""

    def run(*overrides, verb="run"):
        place = ["run_name=test", f"run_dir={tmp_path / 'run'}"]
        status = 0
        try:
            main.main([verb, *place, *tiny_overrides, *SHORT, *overrides])
        except SystemExit as ended:
            status = ended.code
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


@pytest.fixture
def signalled(monkeypatch):
    """The first batch of RL is the moment of a signal; `signalled(number)` chooses it."""

    def choose(number):
        metrics, calls = SamplingDrift.metrics, []

        def once(self):
            if not calls:
                calls.append(os.kill(os.getpid(), number))
            return metrics(self)

        monkeypatch.setattr(SamplingDrift, "metrics", once)

    return choose


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_with_the_command_that_goes_on(
    command, signalled, tmp_path, number, status
):
    signalled(number)
    code, said = command("run_name=test")
    assert code == status, said
    assert "stopped, and what was done is saved; resume with: rlhfkit run run_name=test" in said
    assert (tmp_path / "run" / "rl" / "checkpoints" / "step_000001").is_dir()
    assert "interrupted" in command(verb="stages")[1]
    assert command()[0] == 0
    assert not (tmp_path / "run" / "rl" / "checkpoints").exists()


def test_a_second_signal_ends_at_once(command, tmp_path, monkeypatch):
    def twice(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("rlhfkit.online.loop.set_rates", twice)
    code, said = command()
    assert code == 130
    assert "interrupted; resume with: rlhfkit run" in said
    assert not (tmp_path / "run" / "rl" / "checkpoints").exists()


def test_other_settings_are_refused_with_both_ways_on(command, signalled):
    signalled(signal.SIGTERM)
    command()
    code, said = command("kl=fixed", "kl.kl_coef=0.5")
    assert code == 2
    assert "rl in " in said
    assert "was started with other settings" in said
    assert "kl.kl_coef: None -> 0.5" in said
    assert "add force_from=rl to make it again, or choose another run_name" in said
    assert command("kl=fixed", "kl.kl_coef=0.5", "force_from=rl")[0] == 0


def test_two_processes_go_on_as_two_and_not_as_one(tiny_overrides, tmp_path, monkeypatch):
    epochs = ["stage.sft.num_train_epochs=2", "stage.sft.residual_dropout=0.2"]
    chosen = ["stages=[sft,sample,rl]", "sampler=generate", "stage.sft.logging_steps=1", *epochs]
    words = ["run_name=test", *tiny_overrides, *SHORT, *chosen]

    def run(count, name):
        return launch(count, *words, f"run_dir={tmp_path / name}", plugins=tmp_path / "plugins")

    whole = run(2, "whole")
    assert whole.returncode == 0, whole.stderr
    for step in ("sft 1", "rl 1"):
        monkeypatch.setenv("STOP_AFTER", step)
        stopped = run(2, "run")
        assert "stopped, and what was done is saved" in stopped.stderr
    monkeypatch.delenv("STOP_AFTER")
    alone = run(1, "run")
    assert alone.returncode == 2
    assert "step_000001: saved by 2 processes, and now there are 1" in alone.stderr
    again = run(2, "run")
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
