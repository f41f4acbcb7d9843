"""Samplers: how completions are drawn from a model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.errors import UserError
from rlhfkit.validators import require_above_zero, require_at_least, require_below
from rlhfkit_plugins.server_options import ServerOptions

if TYPE_CHECKING:
    from rlhfkit.context import Context


LOWEST_SERVED_TEMPERATURE = 0.01
"""vLLM 0.32.0 takes lower ones for this one."""


@dataclass
class SamplingConfig:
    """What every sampler asks for."""

    response_length: int = 64
    """Longest completion in tokens, EOS included."""

    temperature: float = 1.0
    """What logits are divided by before a token is drawn."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "response_length", "temperature")


@dataclass
class BatchedConfig(SamplingConfig):
    """What samplers in this process ask for."""

    batch_size: int = 32
    """Prompts decoded together."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "batch_size")


@dataclass
class CachedConfig(BatchedConfig):
    """A decoding loop with a KV cache: finished sequences leave the batch, log-probabilities
    are taken while sampling."""

    merge_adapters: bool = True
    """Whether an adapter is added into its base while sampling, and taken out without a trace: in
    full precision (float32) only, with a second copy of the weights that have an adapter."""


@dataclass
class GraphConfig(CachedConfig):
    """The same tokens from tensors that never move, a step recorded once as a CUDA graph: for GPUs,
    where launching a step's operations takes longer than computing them."""

    dequantise: bool | None = None
    """Whether 4-bit layers get a copy in half precision while sampling, two bytes a parameter;
    null: where memory has room for it."""

    keep: bool = True
    """Whether cache, recorded steps and ready weights stay from one call to the next, beside the
    update too, which a plan counts; false frees them after each call. What merge_adapters merges is
    made anew for each call, and all else with it."""

    capture: bool = True
    """Whether a step is recorded as a CUDA graph; false launches its operations one by one."""


@dataclass
class GenerateConfig(BatchedConfig):
    """transformers' `generate`, plain sampling, log-probabilities by a second pass."""

    planned_as: ClassVar[str] = "cached"


@dataclass
class ContinuousConfig(BatchedConfig):
    """transformers' continuous batching: as a sequence ends, the next prompt takes its place;
    log-probabilities are taken while sampling. Made for GPUs; here only ever run on a CPU."""

    planned_as: ClassVar[str] = "cached"

    keeps_cache: ClassVar[bool] = True

    page_size: int = 32
    """Tokens in a page of the cache."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_at_least(name, self, 4, "page_size")


@dataclass
class ServerConfig(SamplingConfig, ServerOptions):
    """A vLLM server: completions over HTTP, the adapter loaded anew whenever it changed. Tried
    with vLLM 0.32.0 on a CPU (`make test-vllm`)."""

    url: str = "http://localhost:8000"
    """Where the server listens; started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora,
    and at another temperature than 1 with --logprobs-mode processed_logprobs."""

    model: str = ""
    """What the server calls the base model."""

    adapter_dir: str = ""
    """A directory that the server reads under the same path; adapters are written there."""

    api_key_variable: str = "VLLM_API_KEY"
    """The environment variable with the server's key, where it wants one."""

    launch: bool = False
    """Start vLLM with the run's base model when a stage first samples, and stop it with the stage;
    url, model and adapter_dir are then not needed."""

    command: list[str] = field(default_factory=lambda: ["vllm"])
    """What starts vLLM, before its `serve`: the path of the command in its own environment."""

    arguments: list[str] = field(default_factory=list)
    """More arguments of `vllm serve`, as [--quantization,bitsandbytes]."""

    gpu_memory_utilization: float = 0.4
    """Share of a GPU's memory that a server started here takes for itself."""

    start_timeout: float = 600.0
    """Seconds until a server that was started here must answer."""

    @property
    def card_share(self) -> float:
        """What a plan takes off the card while a stage samples: a server started here has it."""
        return self.gpu_memory_utilization if self.launch else 0.0

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        SamplingConfig.check(self, name)
        ServerOptions.check(self, name)
        if self.temperature < LOWEST_SERVED_TEMPERATURE:
            raise UserError(
                f"{name}.temperature={self.temperature:g}: vLLM samples at "
                f"{LOWEST_SERVED_TEMPERATURE:g} and above; {name}.temperature=0.01 is nearly greedy"
            )
        require_above_zero(name, self, "gpu_memory_utilization", "start_timeout")
        require_below(name, self, 1, "gpu_memory_utilization")
        if self.launch and not self.command:
            raise UserError(f"{name}.command: empty; what starts vLLM, as in {name}.command=[vllm]")
        if not self.launch and not (self.model and self.adapter_dir):
            raise UserError(
                f"sampler=server needs {name}.model=NAME and {name}.adapter_dir=DIR, or "
                f"{name}.launch=true"
            )


@hookimpl
def samplers() -> Sequence[Component]:
    return (
        Component("cached", CachedConfig, "rlhfkit_plugins.samplers.cached:CachedSampler"),
        Component("graph", GraphConfig, "rlhfkit_plugins.samplers.graph:GraphSampler"),
        Component("generate", GenerateConfig, "rlhfkit_plugins.samplers.generate:GenerateSampler"),
        Component(
            "continuous", ContinuousConfig, "rlhfkit_plugins.samplers.continuous:ContinuousSampler"
        ),
        Component("server", ServerConfig, "rlhfkit_plugins.samplers.server:ServerSampler"),
    )


@hookimpl
def stage_finished(stage: str, context: "Context", seconds: float) -> None:
    _stop_server()


@hookimpl
def stage_failed(stage: str, context: "Context", error: BaseException) -> None:
    _stop_server()


def _stop_server() -> None:
    """That of `sampler.launch`, where one was started."""
    if (module := sys.modules.get("rlhfkit_plugins.samplers.server_process")) is not None:
        module.stop()
