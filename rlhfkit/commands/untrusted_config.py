"""What no config may say, wherever it is from: recipes are passed on, and read by few.

Hydra calls whatever its own callbacks and loggers name. And code that comes with a model, or that a
YAML file names, is run for those only who ask for it on the command line.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from hydra._internal import hydra as hydra_internals
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from rlhfkit.commands.own_parts import OwnParts
from rlhfkit.errors import UserError

_CALLABLES = ("_target_", "()", "class")
_HARMLESS = re.compile(
    r"rlhfkit\.commands\.(sweep\.SweepDirectory|invocation\.Invocation)"
    r"|(hydra_plugins|hydra\._internal\.core_plugins)\.[\w.]+"
    r"|logging\.(handlers\.)?\w+Handler|colorlog\.ColoredFormatter"
)
_MAKES_NODES = re.compile(r"\$\{\s*oc\.(create|decode)")
"""Resolvers that could hide such a key in a text."""


class _Repository(ConfigRepository):
    """Makes components of the code that YAML files name, or refuses to."""

    def __init__(self, config_search_path: ConfigSearchPath, own_parts: OwnParts) -> None:
        super().__init__(config_search_path)
        self._own_parts, self.trusted = own_parts, False

    def __deepcopy__(self, memo: Any) -> "_Repository":
        """What Hydra composes from: a deep copy would not see the parts that are added later."""
        made = copy.copy(self)
        made.sources = list(self.sources)
        return made

    def load_config(self, config_path: str) -> ConfigResult | None:
        found = super().load_config(config_path)
        if found is not None:
            self._own_parts.in_defaults(config_path, found, self.trusted)
        return found


class GuardedConfigLoader(ConfigLoaderImpl):
    """Looks at every configuration that Hydra composes, before Hydra itself acts on it."""

    own_parts: ClassVar[OwnParts | None] = None

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        if self.own_parts is not None:
            self.repository = _Repository(config_search_path, self.own_parts)

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **more: Any
    ) -> DictConfig:
        if isinstance(self.repository, _Repository):
            self.repository.trusted = any(
                word.lstrip("+").lower() == "trust=true" for word in overrides
            )
        config = super().load_configuration(config_name, overrides, *args, **more)
        refuse_dangerous(config, overrides)
        return config


def guard_configs(own_parts: OwnParts | None = None) -> None:
    """Let Hydra compose with the loader above: a subclass, which launchers take with them into
    other processes."""
    GuardedConfigLoader.own_parts = own_parts
    hydra_internals.ConfigLoaderImpl = GuardedConfigLoader  # type: ignore[attr-defined]


def refuse_dangerous(config: DictConfig, overrides: Sequence[str]) -> None:
    """Raise `UserError` for a config that names a callable, and for `trust_remote_code=true` that
    is not one of the overrides."""
    for option, value in _leaves("", OmegaConf.to_container(config, resolve=False)):
        key, is_hydras = option.rpartition(".")[2], option.startswith("hydra.")
        names_code = key in _CALLABLES and not _HARMLESS.fullmatch(str(value))
        if names_code or (is_hydras and _MAKES_NODES.search(str(value))):
            raise UserError(
                f"{option}={value}: a config cannot name code to run; components are chosen by "
                f"name, as in optimizer=ppo, and come from plugins"
            )
        trusts = key == "trust_remote_code" or option == "trust"
        if trusts and value and not _by_hand(option, overrides):
            whose = "that it names" if option == "trust" else "that comes with the model"
            raise UserError(
                f"{option}=true: not from a file; read the code {whose}, then say it on the "
                f"command line"
            )


def _by_hand(option: str, overrides: Sequence[str]) -> bool:
    return any(word.lstrip("+").partition("=")[0] == option for word in overrides)


def _leaves(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Options by their full names, lists' items by their places."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        option = f"{prefix}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from _leaves(option, value)
        else:
            yield option, value
