"""How the run's schema and every component become Hydra options."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins as HydraPlugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from rlhfkit.commands.sweep import point_name
from rlhfkit.component import GROUPS, Group
from rlhfkit.config.run import run_schema
from rlhfkit.plugin_manager import Plugins, Provided
from rlhfkit.storage.rounds import previous_dir, round_dir


class _RecipeSearchPath(SearchPathPlugin):
    """Adds the recipes and every plugin's own YAML to Hydra's search path."""

    packages: tuple[str, ...] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for package in self.packages:
            search_path.append(provider=package, path=f"pkg://{package}")


def register_configs(plugins: Plugins) -> None:
    """Store the schema and every component with Hydra; to be called before composing."""
    from rlhfkit.commands.config_loader import install_config_loader  # it imports this module

    install_config_loader()
    for resolver in (point_name, round_dir, previous_dir):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
    store = ConfigStore.instance()
    store.store(name="schema", node=run_schema(plugins.stages), provider="rlhfkit")
    for group in GROUPS:
        for provided in plugins.components[group.name].values():
            store_component(group, provided)
    _RecipeSearchPath.packages = ("rlhfkit_recipes", *plugins.config_packages())
    HydraPlugins.instance().register(_RecipeSearchPath)


def store_component(group: Group, provided: Provided) -> None:
    """Make a component an option of its group."""
    name = provided.component.name
    ConfigStore.instance().store(
        group=group.name,
        name=name,
        node=group.schema(provided.component),
        package=f"{group.name}.{name}" if group.many else group.name,
        provider=str(provided.provider),
    )
