"""What a stage depends on beside data and earlier stages: options, plugins, files."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlhfkit.component import GROUPS
from rlhfkit.config.run import RunConfig
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stage import Stage


def stage_settings(
    stage: Stage, raw: DictConfig, config: RunConfig, plugins: Plugins
) -> dict[str, Any]:
    """Every option that the stage depends on, flattened, with the providers of its components and
    the digests of the files that their options name in `read_files`. raw: config as composed."""
    options = getattr(config.stage, stage.name)
    settings: dict[str, Any] = {"rlhfkit": version("rlhfkit")}
    _flatten(f"stage.{stage.name}", raw.stage[stage.name], settings)
    unused = getattr(options, "unused_in", lambda _: ())
    for option in unused(config.round):
        del settings[f"stage.{stage.name}.{option}"]
    groups = stage.groups_with(options)
    for name in groups:
        _flatten(name, raw[name], settings)
    for group in (group for group in GROUPS if group.name in groups):
        chosen = getattr(config, group.name)
        for component in chosen.values() if group.many else [chosen]:
            provider = plugins.find(group, component.name).provider
            settings[f"provider of {group.name}={component.name}"] = str(provider)
            for path in getattr(component, "read_files", ()):
                settings[f"sha256 of {path}"] = _digest(path)
    return settings


def _digest(path: str) -> str | None:
    """None for a file that is not there; who reads it says so."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _flatten(prefix: str, value: Any, into: dict[str, Any]) -> None:
    """Nested options as dotted names."""
    if isinstance(value, DictConfig):
        for key, item in value.items():
            _flatten(f"{prefix}.{key!s}", item, into)
    else:
        plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        into[prefix] = plain
