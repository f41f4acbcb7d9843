"""reuse: what another run has finished with the same settings and inputs is taken over."""

import os

import pytest

from rlhfkit.errors import UserError
from rlhfkit.runner.reuse import take_over
from rlhfkit.runner.runner import Runner
from rlhfkit.stage import Stage
from rlhfkit.storage.run_dir import RunDir

CHAIN = "stages=[sft,sample,label]"


@pytest.fixture
def ran(monkeypatch):
    """Stages do nothing but write a file in a folder; the list says which ran."""
    calls = []

    def run(stage: Stage, context):
        calls.append(stage.name)
        (context.stage_dir / "model").mkdir()
        (context.stage_dir / "model" / "weights").write_text(stage.name)

    monkeypatch.setattr("rlhfkit.runner.runner.refuse_mistakes", lambda *_: None)
    monkeypatch.setattr(Stage, "start", run)
    return calls


@pytest.fixture
def runner(plugins, make_raw, tmp_path, ran):
    """`runner("b", reuse="a")`: of the chain in tmp_path/b."""

    def make(name, *overrides, reuse=None):
        lender = [] if reuse is None else [f"reuse={tmp_path / reuse}"]
        return Runner(make_raw(CHAIN, f"run_dir={tmp_path / name}", *lender, *overrides), plugins)

    return make


def states(runner):
    return [runner.status(stage).state.name for stage in runner.chosen]


def test_equal_stages_are_taken_over_and_finished_from_then_on(runner, ran, tmp_path, capsys):
    runner("a").run()
    borrower = runner("b", reuse="a")
    assert states(borrower) == ["LENT"] * 3
    assert borrower.status(borrower.chosen[0]).state.next_step == "take over"
    assert borrower.planned()[0].waiting == []  # neither memory nor data is checked for them
    assert not (tmp_path / "b").exists()
    borrower.run()
    assert ran == ["sft", "sample", "label"]
    said = " ".join(capsys.readouterr().out.split())
    for stage in ran:
        assert f"{stage}: taken over from" in said
        own, other = (tmp_path / name / stage / "model" / "weights" for name in "ba")
        assert own.samefile(other)
        assert RunDir(tmp_path / "b").record(stage) == RunDir(tmp_path / "a").record(stage)
    assert states(runner("b")) == ["COMPLETE"] * 3  # also without the other run


def test_other_settings_are_run_here_with_all_that_reads_them(runner, ran):
    runner("a").run()
    borrower = runner("b", "stage.sample.num_completions=5", reuse="a")
    assert states(borrower) == ["LENT", "ABSENT", "ABSENT"]
    borrower.run()
    assert ran == ["sft", "sample", "label", "sample", "label"]
    runner("c", "seed=1", reuse="a").run()
    assert ran[5:] == ["sft", "sample", "label"]


def test_a_directory_of_runs_lends_from_all_of_them(runner, ran):
    runner("sweep/a").run()
    runner("sweep/b", "stage.sample.num_completions=5").run()
    del ran[:]
    runner("sweep/c", "stage.sample.num_completions=5", reuse="sweep").run()
    assert ran == []


def test_own_results_come_first(runner, ran):
    runner("a").run()
    runner("b", "stage.sft.learning_rate=1").run()
    with pytest.raises(UserError, match="made with other settings"):
        runner("b", reuse="a").run()


def test_what_is_forced_is_not_taken_over(runner, ran):
    runner("a").run()
    runner("b", "force_from=sample", reuse="a").run()
    assert ran == ["sft", "sample", "label", "sample", "label"]


def test_only_chosen_stages_are_taken_over(runner, ran, tmp_path):
    runner("a").run()
    runner("b", "stages=[sft,sample]", reuse="a").run()
    assert not (tmp_path / "b" / "label").exists()
    alone = runner("c", "stages=[sample]", reuse="a")  # made after an SFT that c does not have
    assert states(alone) == ["ABSENT"]


def test_damaged_results_are_not_taken_over(runner, ran, tmp_path):
    runner("a").run()
    (tmp_path / "a" / "sample" / "model" / "weights").unlink()
    runner("b", reuse="a").run()
    assert ran == ["sft", "sample", "label", "sample"]


def test_a_started_stage_is_replaced(runner, ran, tmp_path):
    runner("a").run()
    (RunDir(tmp_path / "b").begin("sft") / "half").write_text("")
    runner("b", reuse="a").run()
    assert len(ran) == 3
    assert not (tmp_path / "b" / "sft" / "half").exists()


def test_without_hard_links_files_are_copied(runner, ran, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError

    runner("a").run()
    monkeypatch.setattr(os, "link", refuse)
    take_over("sft", RunDir(tmp_path / "a"), RunDir(tmp_path / "b"))
    own, other = (tmp_path / name / "sft" / "model" / "weights" for name in "ba")
    assert own.read_text() == other.read_text()
    assert not own.samefile(other)
    assert RunDir(tmp_path / "b").record("sft") is not None


def test_making_a_stage_again_leaves_the_lender_alone(runner, ran, tmp_path):
    runner("a").run()
    runner("b", reuse="a").run()
    runner("b", "force_from=sft", "seed=1").run()
    runner("a").run()
    assert len(ran) == 6
    assert (tmp_path / "a" / "sft" / "model" / "weights").read_text() == "sft"


def test_a_wrong_directory_is_told_and_that_of_the_points_may_come_later(runner, ran):
    with pytest.raises(UserError, match="no such directory"):
        runner("b", reuse="typo")
    runner("own", "stages=[]", reuse="own").run()
    runner("sweep/a", reuse="sweep").run()
    assert ran == ["sft", "sample", "label"]
