"""Every sampler keeps to the contract."""

import pytest
from transformers import LlamaForCausalLM

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.testing import SamplerContract, tiny
from rlhfkit_plugins.samplers import (
    CachedConfig,
    ContinuousConfig,
    GenerateConfig,
    GraphConfig,
    ServerConfig,
)
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.continuous import ContinuousSampler
from rlhfkit_plugins.samplers.generate import GenerateSampler
from rlhfkit_plugins.samplers.graph import GraphSampler
from rlhfkit_plugins.samplers.server import ServerSampler
from tests.plugins.samplers.stand_in import BASE, StandIn, serving

IN_PROCESS = {
    "cached": (CachedSampler, CachedConfig),
    "graph": (GraphSampler, GraphConfig),
    "generate": (GenerateSampler, GenerateConfig),
    "continuous": (ContinuousSampler, ContinuousConfig),
}
COMPONENTS = {*IN_PROCESS, "server"}


class TestInProcess(SamplerContract):
    @pytest.fixture(autouse=True, params=IN_PROCESS)
    def _chosen(self, request):
        self.sampler, self.config = IN_PROCESS[request.param]

    def make(self, temperature, response_length):
        size = 500 if response_length == 1 else 3
        return self.sampler(self.config(response_length, temperature, batch_size=size))


class TestServer(SamplerContract):
    @pytest.fixture
    def model(self, tmp_path):
        """A stand-in for a server has the same."""
        tiny.language_model(tmp_path / "base")
        self.folder = tmp_path / "adapters"
        with serving(StandIn(tmp_path / "base")) as self.url:
            yield LanguageModel(LlamaForCausalLM.from_pretrained(tmp_path / "base").eval())

    def make(self, temperature, response_length):
        lengths = {"temperature": temperature, "response_length": response_length}
        server = {"url": self.url, "model": BASE, "adapter_dir": str(self.folder)}
        return ServerSampler(ServerConfig(**lengths, **server))
