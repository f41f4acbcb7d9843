"""Contexts in milliseconds: the options are composed once, and data is set by hand."""

from dataclasses import replace
from typing import Any

import datasets
import huggingface_hub.constants
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from rlhfkit.component import GROUPS
from rlhfkit.context import Context
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.testing.tiny_run import SETTINGS

DATA = next(group for group in GROUPS if group.name == "data")


@pytest.fixture(scope="session")
def composed(plugins, tiny_files):
    """The tiny run's options."""
    fixed = ["run_name=test", "run_dir=unset", f"model.path={tiny_files['model']}"]
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        raw = compose("config", [*SETTINGS, *fixed, "eval_fraction=0"])
    return OmegaConf.to_object(raw)


@pytest.fixture
def context(composed, plugins, tmp_path):
    """`context(data={"files": {"prompts": path}}, model={"chat": False}, stage="sft")`."""

    def make(
        data: dict[str, dict[str, Any]] | None = None,
        model: dict[str, Any] | None = None,
        stage: str = "sft",
        **options: Any,
    ) -> Context:
        chosen = {
            name: DATA.schema(plugins.find(DATA, name).component)(**given)
            for name, given in (data or {}).items()
        }
        config = replace(
            composed, data=chosen, model=replace(composed.model, **model or {}), **options
        )
        return Context(config, plugins, RunDir(tmp_path / "run"), stage)

    return make


@pytest.fixture(autouse=True)
def _offline_and_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
