"""sampler=server: completions from a vLLM server, whose adapter follows the policy.

Tests of every fault use a stand-in of the protocol (tests/plugins/samplers/stand_in.py); `make
test-vllm` runs the stages against vLLM itself, on a CPU.
"""

import hashlib
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import ServerConfig
from rlhfkit_plugins.samplers.server_api import ServerApi
from rlhfkit_plugins.samplers.server_checks import check_served
from rlhfkit_plugins.samplers.server_process import NAME, running

REQUESTS_AT_ONCE = 64
"""Prompts that the server has at once; it batches them itself."""

MOST_DRIFT = 0.2
"""Largest mean difference of log-probabilities, in nats, between the server's model and this
process's; half precision and other kernels make a tenth of it."""


class ServerSampler:
    """Plain sampling by a server that has the base model and gets every new adapter."""

    def __init__(self, config: ServerConfig, context: Context | None = None) -> None:
        self.temperature = config.temperature
        self.response_length = config.response_length
        self._config, self._context = config, context
        self._base, self._folder = config.model, Path(config.adapter_dir).absolute()
        self._loaded: tuple[str, str] | None = None
        self._planned = context is not None and context.dry_run is not None

    @staticmethod
    def check_run(config: ServerConfig, context: Context) -> None:
        """Raise `UserError` where a server could not be started, or not serve the run's models."""
        check_served(config, context)

    @cached_property
    def _api(self) -> ServerApi:
        if not self._config.launch:
            return ServerApi(self._config)
        assert self._context is not None
        server = running(self._config, self._context)
        self._base, self._folder = NAME, server.log.parent.absolute()
        hint = f"{server.log} says what ended it"
        return ServerApi(replace(self._config, url=server.url), hint)

    @torch.no_grad()
    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        """One request for all completions of a prompt. A plan draws nothing: the memory it takes
        is the server's."""
        if self._planned:
            return []
        api = self._api
        served = self._served(model)
        counts = Counter(map(tuple, prompts))
        seeds = torch.randint(2**31, (len(counts),), generator=generator, device=generator.device)
        options = {"max_tokens": self.response_length, "temperature": self.temperature}

        def ask(prompt: tuple[int, ...], count: int, seed: int) -> list[Response]:
            made = {**options, "seed": seed}
            return api.complete(served, list(prompt), count, ends, made)

        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            found = pool.map(ask, counts, counts.values(), seeds.tolist())
            drawn = {prompt: iter(made) for prompt, made in zip(counts, found, strict=True)}
        responses = [next(drawn[tuple(prompt)]) for prompt in prompts]
        if responses:
            self._check(model, prompts[0], responses[0])
        return responses

    def _served(self, model: LanguageModel) -> str:
        """What the server calls this model: its base, or an adapter that is pushed to it. One that
        was merged into the base here is pushed as it was stored."""
        stored = model.merged_from
        if model.adapter is not None:
            return self._push(_digest(model), model.save)
        if stored is not None:
            return self._push(stored, partial(shutil.copytree, stored))
        return self._base

    def _push(self, now: str, write: Callable[[Path], object]) -> str:
        """The name under which the server has the adapter as it is now.

        A new name each time: what the server keeps of prompts is kept by name.
        """
        if self._loaded is not None and self._loaded[1] == now:
            return self._loaded[0]
        name = f"rlhfkit-{uuid.uuid4().hex[:12]}"
        write(self._folder / name)
        self._api.load_adapter(name, str(self._folder / name))
        if self._loaded is not None:
            self._api.unload_adapter(self._loaded[0])
            shutil.rmtree(self._folder / self._loaded[0])
        self._loaded = (name, now)
        return name

    def _check(self, model: LanguageModel, prompt: Sequence[int], response: Response) -> None:
        """That the server sampled from this model, at this temperature."""
        batch = make_batch([prompt], [response.ids], model.device)
        expected, _ = model.response_logprobs(batch, self.temperature)
        drift = float((expected[0] - expected.new_tensor(response.logprobs)).abs().mean())
        if drift > MOST_DRIFT:
            raise UserError(
                f"sampler.model={self._base}: the server's log-probabilities are {drift:.2g} off: "
                f"another model, or no --logprobs-mode processed_logprobs"
            )


def _digest(model: LanguageModel) -> str:
    """Changes whenever the adapter does."""
    digest = hashlib.blake2b()
    for tensor in _adapter(model):
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _adapter(model: LanguageModel) -> list[Tensor]:
    return [
        parameter
        for name, parameter in model.model.named_parameters()
        if f".{model.adapter}." in name
    ]
