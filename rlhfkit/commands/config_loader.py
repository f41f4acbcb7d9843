"""How Hydra composes a run here: recipes fit the components that were chosen, and `~` is the home
directory."""

import re
from collections.abc import Iterator
from copy import deepcopy
from os.path import expanduser
from typing import Any

from hydra._internal import hydra as hydra_internals
from hydra.core.default_element import ResultDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override

from rlhfkit.commands.untrusted_config import GuardedConfigLoader
from rlhfkit.component import GROUPS, Group

Paths = set[tuple[str, ...]]

_AT_HOME = re.compile(r"~(/|$)")


class ConfigLoader(GuardedConfigLoader):
    """Has a hand in what Hydra composes, before Hydra itself acts on it."""

    _typed: frozenset[str] = frozenset()
    """What stands before the `=` of each override; among them the groups that are chosen from."""

    _options: dict[str, Paths]
    """The options of the chosen components, by group."""

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *args: Any, **more: Any
    ) -> DictConfig:
        self._typed = frozenset(word.lstrip("+~").partition("=")[0] for word in overrides)
        config = super().load_configuration(config_name, overrides, *args, **more)
        with flag_override(config, "readonly", False):
            expand_home(config)
        return config

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: Any
    ) -> DictConfig:
        self._options = {group.name: set() for group in GROUPS}
        for default in defaults:
            for group in GROUPS:
                if str(default.config_path).startswith(f"{group.name}/"):
                    config = super()._load_single_config(default, repo).config
                    self._options[group.name] |= _paths(config, group)
        return super()._compose_config_from_defaults_list(defaults, repo)

    def _load_single_config(self, default: ResultDefault, repo: Any) -> ConfigResult:
        """A recipe's options of a component go with that component: where the command line, or a
        recipe that includes this one, may have chosen another in its place, those that the other
        one does not have are left out."""
        result = super()._load_single_config(default, repo)
        if str(default.config_path).startswith("recipe/"):
            result.config = deepcopy(result.config)
            included = str(default.parent).startswith("recipe/")
            for group in GROUPS:
                if included or group.name in self._typed:
                    _leave_out(result.config, group, self._options[group.name])
        return result


def install_config_loader() -> None:
    """Let Hydra compose with the loader above: a subclass, which launchers take with them into
    other processes."""
    hydra_internals.ConfigLoaderImpl = ConfigLoader  # type: ignore[attr-defined]


def _paths(config: Any, group: Group) -> Paths:
    """The options of a group that a config sets, and the components that they are of."""
    return set(_keys(OmegaConf.select(config, group.name), 2 if group.many else 1))


def _keys(node: Any, depth: int) -> Iterator[tuple[str, ...]]:
    if isinstance(node, DictConfig) and depth:
        for key in node:
            yield (str(key),)
            yield from ((str(key), *rest) for rest in _keys(node._get_node(key), depth - 1))


def _leave_out(recipe: Any, group: Group, known: Paths) -> None:
    for *above, key in sorted(_paths(recipe, group) - known, reverse=True):
        del OmegaConf.select(recipe, ".".join([group.name, *above]))[key]


def expand_home(node: DictConfig | ListConfig) -> None:
    """Replace `~` at the start of every text by the home directory, as a shell does: no option
    means anything else by it."""
    keys: Any = list(node) if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        child: Any = node._get_node(key)
        if isinstance(child, DictConfig | ListConfig):
            if not (child._is_none() or child._is_missing() or child._is_interpolation()):
                expand_home(child)
        elif isinstance(text := child._value(), str) and _AT_HOME.match(text):
            node[key] = expanduser(text)
