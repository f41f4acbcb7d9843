"""A run with models to export, none of which was trained."""

from types import SimpleNamespace

import pytest

from rlhfkit.commands.export import export
from rlhfkit.runner.runner import Runner
from rlhfkit.stages.registry import find_stage
from rlhfkit.testing import tiny
from tests.plugins.loaders.conftest import perturb

TEMPLATE = tiny.TEMPLATE + "{# another #}"


@pytest.fixture
def finished(plugins, make_raw, make_context, tiny_files):
    """`finished("lora")`: a run whose stages rl and reward_model have the models of `roles`, and
    `export(...)` of it with overrides."""

    def make(loader, *more):
        base = str(tiny_files["model"])
        overrides = [f"loader={loader}", f"model.path={base}", f"model.chat_template='{TEMPLATE}'"]
        overrides += more
        roles = make_context(*overrides).build("loader").roles(None, None)
        perturb(roles.policy.trainable_parameters(), 3)
        perturb(roles.value.trainable_parameters(), 4)
        runner = Runner(make_raw(*overrides), plugins)
        for stage, model in (("rl", roles.policy), ("reward_model", roles.value)):
            wanted = runner.status(find_stage(stage)).wanted
            model.save(runner.run_dir.begin(stage) / "model")
            runner.run_dir.complete(wanted)

        def export_with(*options):
            # neither loader nor model is said again: what the stage was made with counts
            return export(Runner(make_raw(*options), plugins).config, plugins)

        return SimpleNamespace(base=base, roles=roles, root=runner.run_dir.root, export=export_with)

    return make
