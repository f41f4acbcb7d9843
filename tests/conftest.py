"""Fixtures of all tests: no network, and a context composed as the command line composes it."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hypothesis import settings
from omegaconf import DictConfig, OmegaConf

from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.config.run import RunConfig
from rlhfkit.context import Context
from rlhfkit.plugin_manager import Plugins, load_plugins
from rlhfkit.runner.runner import Runner
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.testing.tiny_run import SETTINGS, write_files

os.environ["HF_HUB_OFFLINE"] = "1"
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

MakeContext = Callable[..., Context]
MakeRaw = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Hydra sets up logging for good, into files of the run: a later test's line would be written
    where a folder is no longer, or be seen where nobody asked for it."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [*root.handlers]:
        if type(handler) in (logging.FileHandler, logging.StreamHandler):
            root.removeHandler(handler)
            handler.close()


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """The installed plugins, known to Hydra."""
    loaded = load_plugins()
    register_configs(loaded)
    return loaded


@pytest.fixture
def make_raw(plugins: Plugins, tmp_path: Path) -> MakeRaw:
    """`make_raw("seed=1")`: the composed defaults with overrides, run in tmp_path.

    No recipe unless one is given: a recipe may set options of the components it chooses.
    """

    def make(*overrides: str) -> DictConfig:
        fixed = ["run_name=test", f"run_dir={tmp_path / 'run'}"]
        with initialize_config_module("rlhfkit_conf", version_base="1.3"):
            return compose("config", [*fixed, *overrides])

    return make


@pytest.fixture
def make_context(plugins: Plugins, make_raw: MakeRaw) -> MakeContext:
    """`make_context("seed=1", stage="rl")`: a stage's context with overrides."""

    def make(*overrides: str, stage: str = "evaluate") -> Context:
        config = OmegaConf.to_object(make_raw(*overrides))
        assert isinstance(config, RunConfig)
        return Context(config, plugins, RunDir(config.run_dir), stage)

    return make


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory) -> dict[str, Path]:
    """Paths of a model and of one file per split."""
    return write_files(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_overrides(tiny_files) -> list[str]:
    """Settings of the tiny run; the rankings are left out, so that they are made."""
    splits = ("demonstrations", "prompts", "eval_prompts", "pretraining")
    data = [f"data.files.{split}={tiny_files[split]}" for split in splits]
    return [*SETTINGS, f"model.path={tiny_files['model']}", *data]


@pytest.fixture
def run_tiny(plugins, make_raw, tiny_overrides):
    """`run_tiny("loader=full")`: run the stages with overrides and give the runner."""

    def run(*overrides: str) -> Runner:
        dropped = ("loader.", "optimizer.") if "loader=full" in overrides else ()
        kept = [item for item in tiny_overrides if not item.startswith(dropped or "?")]
        runner = Runner(make_raw(*kept, *overrides), plugins)
        runner.run()
        return runner

    return run
