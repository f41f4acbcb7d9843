"""Every hook is called, documented, and known by its exact signature."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import pluggy
import pytest

from rlhfkit import hookimpl, hookspecs
from rlhfkit.component import GROUPS
from rlhfkit.plugin_manager import Plugins
from rlhfkit.runner.runner import Runner, StageFailed

DOCS = Path(__file__).parents[1] / "docs" / "hooks.md"
HOOKS = sorted(name for name, item in vars(hookspecs).items() if hasattr(item, "rlhfkit_spec"))
LIFECYCLE = ("stage_started", "metrics_logged", "stage_finished", "stage_failed")


def test_there_are_the_hooks_this_file_tests():
    component_hooks = [group.hook for group in GROUPS]
    others = ("commands", "config_packages", "resolve_model", "stages")
    assert sorted([*component_hooks, *LIFECYCLE, *others]) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_documented_with_its_exact_signature(hook):
    signature = str(inspect.signature(getattr(hookspecs, hook)))
    plain = signature.replace("collections.abc.", "").replace("rlhfkit.component.", "")
    plain = plain.replace("rlhfkit.stage.", "")
    written = f"`{hook}{plain}`"
    assert written in DOCS.read_text().replace("\\|", "|"), written
    assert inspect.getdoc(getattr(hookspecs, hook))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.hook)
def test_component_hook_has_built_ins(plugins, group):
    results = getattr(plugins.hook, group.hook)()
    names = [component.name for result in results for component in result]
    assert names
    assert set(names) == set(plugins.components[group.name])


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.hook)
def test_every_factory_can_be_imported(plugins, group):
    for provided in plugins.components[group.name].values():
        assert callable(provided.component.factory)


def test_config_packages_join_the_search_path(plugins):
    extra = SimpleNamespace(config_packages=hookimpl(lambda: ["somewhere.conf"]))
    name = plugins.manager.register(extra)
    try:
        assert "somewhere.conf" in plugins.config_packages()
    finally:
        plugins.manager.unregister(name=name)


def test_resolve_model_first_answer_wins(plugins):
    known = hookimpl(lambda path: "/models/mine" if path == "me/mine" else None)
    name = plugins.manager.register(SimpleNamespace(resolve_model=known))
    try:
        assert plugins.hook.resolve_model(path="me/mine") == "/models/mine"
        assert plugins.hook.resolve_model(path="me/other") is None
    finally:
        plugins.manager.unregister(name=name)


class Recorder:
    """An observer of every lifecycle hook."""

    def __init__(self):
        self.calls = []

    @hookimpl
    def stage_started(self, stage, context):
        self.calls.append(("stage_started", stage, context.stage))

    @hookimpl
    def metrics_logged(self, stage, step, metrics):
        self.calls.append(("metrics_logged", stage, step, dict(metrics)))

    @hookimpl
    def stage_finished(self, stage, context, seconds):
        assert context.run_dir.record(stage) is not None, "finished means recorded"
        self.calls.append(("stage_finished", stage, seconds >= 0))

    @hookimpl
    def stage_failed(self, stage, context, error):
        self.calls.append(("stage_failed", stage, str(error)))


@pytest.fixture
def recorder(plugins: Plugins):
    observer = Recorder()
    plugins.manager.register(observer)
    yield observer
    plugins.manager.unregister(observer)


def test_lifecycle_of_a_stage(plugins, recorder, make_raw, monkeypatch):
    from rlhfkit.reporting import Reporter

    def run(stage, context):
        with Reporter(context) as reporter:
            reporter.log(3, {"loss": 0.5})

    monkeypatch.setattr("rlhfkit.stage.Stage.start", run)
    Runner(make_raw("stages=[report]"), plugins).run()
    assert recorder.calls == [
        ("stage_started", "report", "report"),
        ("metrics_logged", "report", 3, {"loss": 0.5}),
        ("stage_finished", "report", True),
    ]


def test_lifecycle_of_a_failure(plugins, recorder, make_raw, monkeypatch):
    def run(stage, context):
        raise RuntimeError("boom")

    monkeypatch.setattr("rlhfkit.stage.Stage.start", run)
    with pytest.raises(StageFailed):
        Runner(make_raw("stages=[report]"), plugins).run()
    assert recorder.calls[-1] == ("stage_failed", "report", "boom")
    assert not any(call[0] == "stage_finished" for call in recorder.calls)


def test_hooks_are_declared_for_this_project():
    manager = pluggy.PluginManager("rlhfkit")
    manager.add_hookspecs(hookspecs)
    assert sorted(vars(manager.hook)) == HOOKS
