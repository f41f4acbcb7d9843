"""skip, run, refuse; force_from; failures keep what is finished."""

import os
from dataclasses import dataclass, replace

import pytest
import torch

from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.errors import UserError
from rlhfkit.runner.runner import Runner, StageFailed, State
from rlhfkit.stage import Stage
from rlhfkit.stages.registry import STAGES, find_stage, stages_of

CHAIN = "stages=[sft,sample,label]"


@pytest.fixture
def ran(monkeypatch):
    """Stages do nothing but write a file; the list says which ran."""
    calls = []

    def run(stage: Stage, context):
        calls.append(stage.name)
        (context.stage_dir / "output.txt").write_text(stage.name)

    monkeypatch.setattr("rlhfkit.runner.runner.refuse_mistakes", lambda *_: None)
    monkeypatch.setattr(Stage, "start", run)
    return calls


def test_runs_in_order_then_skips(plugins, make_raw, ran, capsys):
    Runner(make_raw(CHAIN), plugins).run()
    assert ran == ["sft", "sample", "label"]
    Runner(make_raw(CHAIN), plugins).run()
    assert ran == ["sft", "sample", "label"]
    assert capsys.readouterr().out.count("complete, skipped") == 3


def test_a_kill_right_behind_a_stages_end_leaves_nothing(plugins, make_raw, ran):
    runner = Runner(make_raw("stages=[sft]"), plugins)
    runner.run()
    folder = runner.run_dir.stage_dir("sft")
    (folder / "checkpoints" / "step_000001").mkdir(parents=True)
    (folder / "started.json").write_text("{}")
    Runner(make_raw("stages=[sft]"), plugins).run()
    assert sorted(path.name for path in folder.iterdir()) == ["output.txt", "stage.json"]
    assert ran == ["sft"]


def test_changed_setting_of_a_stage_is_refused_with_both_ways_on(plugins, make_raw, ran):
    Runner(make_raw(CHAIN), plugins).run()
    with pytest.raises(UserError) as refused:
        Runner(make_raw(CHAIN, "stage.sample.num_completions=5"), plugins).run()
    assert str(refused.value) == (
        f"stage sample in {make_raw().run_dir} was made with other settings "
        "(stage.sample.num_completions: 4 -> 5); add force_from=sample to make it again, "
        "or choose another run_name"
    )


def test_a_setting_only_touches_the_stages_that_read_it(plugins, make_raw, ran):
    Runner(make_raw(CHAIN), plugins).run()
    Runner(make_raw(CHAIN, "kl=fixed", "optimizer.learning_rate=1"), plugins).run()
    assert ran == ["sft", "sample", "label"]


def test_an_upstream_change_makes_later_stages_stale(plugins, make_raw, ran):
    Runner(make_raw(CHAIN), plugins).run()
    changed = make_raw("stages=[sft]", "stage.sft.learning_rate=1", "force_from=sft")
    runner = Runner(changed, plugins)
    runner.run()
    assert ran[3:] == ["sft"]
    assert runner.status(find_stage("sample")).state is State.ABSENT


def test_changed_data_is_noticed(plugins, make_raw, ran, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    overrides = ["stages=[sft]", "data=[files]", f"data.files.demonstrations={rows}"]
    Runner(make_raw(*overrides), plugins).run()
    rows.write_text('{"prompt": "a", "completion": "c"}\n')
    with pytest.raises(UserError, match=r"data files\.demonstrations"):
        Runner(make_raw(*overrides), plugins).run()


def test_force_from_sets_results_aside_and_runs_again(plugins, make_raw, ran):
    runner = Runner(make_raw(CHAIN), plugins)
    runner.run()
    Runner(make_raw(CHAIN, "force_from=sample"), plugins).run()
    assert ran == ["sft", "sample", "label", "sample", "label"]
    kept = list((runner.run_dir.root / "replaced").rglob("output.txt"))
    assert sorted(path.parent.name for path in kept) == ["label", "sample"]


def test_a_failing_stage_keeps_what_is_finished_and_resumes(plugins, make_raw, ran, monkeypatch):
    working = Stage.start

    def fail(stage, context):
        if stage.name == "sample":
            raise RuntimeError("boom")
        working(stage, context)

    monkeypatch.setattr(Stage, "start", fail)
    runner = Runner(make_raw(CHAIN), plugins)
    with pytest.raises(StageFailed) as failed:
        runner.run()
    assert failed.value.stage == "sample"
    assert isinstance(failed.value.__cause__, RuntimeError)
    assert runner.status(find_stage("sft")).state is State.COMPLETE
    assert runner.status(find_stage("sample")).state is State.INCOMPLETE
    monkeypatch.setattr(Stage, "start", working)
    Runner(make_raw(CHAIN), plugins).run()
    assert ran == ["sft", "sample", "label"]


def test_a_users_mistake_inside_a_stage_stays_one(plugins, make_raw, ran, monkeypatch):
    def fail(stage, context):
        raise UserError("mend this")

    monkeypatch.setattr(Stage, "start", fail)
    with pytest.raises(UserError, match="mend this"):
        Runner(make_raw(CHAIN), plugins).run()


def test_every_stage_reads_only_known_options(make_raw):
    raw = make_raw()
    for stage in STAGES:
        assert stage.name in raw.stage
        for group in stage.option_groups:
            assert group in raw
        for earlier in stage.reads:
            assert find_stage(earlier) in STAGES[: STAGES.index(stage)]


def test_a_run_says_what_it_computes_in(run_tiny, capsys):
    run_tiny("stages=[sft]")
    assert "computing on CPU in float32" in capsys.readouterr().out
    run_tiny("stages=[sft]")
    assert "computing on" not in capsys.readouterr().out


def test_deterministic_kernels_are_asked_for(run_tiny, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    asked = []
    monkeypatch.setattr(
        torch,
        "use_deterministic_algorithms",
        lambda mode, warn_only: asked.append((mode, warn_only)),
    )
    run_tiny("stages=[sft]")
    assert asked == []
    run_tiny("stages=[sft]", "deterministic=true", "force_from=sft")
    assert asked == [(True, True)]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8", "the user's own stays"


@dataclass
class OwnConfig:
    """Options of a plugin's stage."""

    most: int = 3


@pytest.fixture
def with_stages(plugins):
    """`with_stages(stage, ...)`: the plugins, and one that adds these stages."""

    def add(*added: Stage):
        extended = replace(plugins, stages={stage.name: stage for stage in added})
        register_configs(extended)
        return extended

    yield add
    register_configs(plugins)


def test_stages_of_plugins_stand_where_they_ask_to(with_stages):
    first = Stage("first", OwnConfig, "x:run", after="sample")
    last = Stage("last", OwnConfig, "x:run")
    names = [stage.name for stage in stages_of(with_stages(first, last))]
    assert names == [
        "prepare", "sft", "rl_sft", "sample", "first", "label", "reward_model", "rl", "evaluate",
        "report", "last",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        (Stage("sft", OwnConfig, "x:run"), "stages=sft: a plugin claims a stage of rlhfkit's own"),
        (Stage("own", OwnConfig, "x:run", after="sampel"), "did you mean 'sample'"),
    ],
)
def test_stages_of_plugins_that_cannot_be_placed(with_stages, stage, says):
    with pytest.raises(UserError, match=says):
        stages_of(with_stages(stage))


def test_a_stage_of_a_plugin_is_made_again_when_its_options_change(with_stages, ran, make_raw):
    plugins = with_stages(Stage("own", OwnConfig, "x:run", reads=("sample",), after="sample"))
    Runner(make_raw("stages=[sft,sample,own,label]"), plugins).run()
    assert ran == ["sft", "sample", "own", "label"]
    runner = Runner(make_raw("stages=[sft,sample,own,label]", "stage.own.most=4"), plugins)
    states = [runner.status(stage).state for stage in runner.chosen]
    assert states == [State.COMPLETE, State.COMPLETE, State.STALE, State.COMPLETE]
