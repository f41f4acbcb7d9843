"""Every loader keeps to the contract."""

import pytest

from rlhfkit.plugin_manager import load_plugins
from rlhfkit.testing import ModelLoaderContract
from rlhfkit_plugins.loaders import FullConfig, LoraConfig, QloraConfig

COMPONENTS = {
    "full": FullConfig(),
    "lora": LoraConfig(lora_r=4, lora_dropout=0.5),  # which must be off in RL
    "qlora": QloraConfig(lora_r=4),
}


class TestLoader(ModelLoaderContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request):
        self.name = request.param

    def make(self, context):
        component = load_plugins().components["loader"][self.name].component
        return component.factory(COMPONENTS[self.name], context)
