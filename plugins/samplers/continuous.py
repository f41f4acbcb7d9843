"""sampler=continuous: transformers' continuous batching.

It is made for GPUs; here it only ever ran on a CPU, with the tests' tiny models.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.utils import WorkloadHints

from rlhfkit.console import count_of
from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.autocast_forward import autocast_forward
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.probing import Fails, follows, kind_of, say_once
from rlhfkit.protocols import Sampler
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import ContinuousConfig
from rlhfkit_plugins.samplers.generate import GenerateSampler
from rlhfkit_plugins.samplers.plain_sampling import plain_sampling


class ContinuousSampler:
    """transformers' continuous batching of all prompts at once, by a manager that is kept.

    Its pages, and on a GPU its graphs, stay from one call to the next, and are made anew for longer
    prompts, another adapter or other ends. Between two calls the weights may change in place: what
    the manager remembers of prompts it has read is forgotten before each call. Log-probabilities
    are those that it draws by; the first mini-batch of an update computes them again, and
    `sampling/logprob_drift` tells the difference.

    It computes in a thread of its own, which autocast around the call does not reach. It knows ends
    of one token only: what comes after another kind of end is drawn in vain and thrown away.
    """

    def __init__(self, config: ContinuousConfig, context: Context | None = None) -> None:
        self.temperature = config.temperature
        self.response_length = config.response_length
        self._rows, self._page_size = config.batch_size, config.page_size
        self._attention = None if context is None else context.config.model.attn_implementation
        self._config = config
        self._kept: _Kept | None = None

    def for_model(self, model: LanguageModel) -> Sampler:
        """This sampler; transformers' `generate` for a model that continuous batching does not
        follow."""
        if follows(model, partial(self._greedy, model)):
            return self
        say_once(
            f"sampler=continuous: transformers' continuous batching does not know "
            f"{kind_of(model)}; its generate samples instead, which is slower"
        )
        return GenerateSampler(self._config).for_model(model)

    @torch.no_grad()
    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        """Raises `UserError` where a sequence got no end, as when memory runs out."""
        if not prompts:
            return []
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        settings = (self.response_length, self.temperature, ends.ids)
        with plain_sampling(model.base, *settings) as plain:
            found = self._answers(model, prompts, plain, seed)
        if len(found) < len(prompts):
            raise UserError(
                f"sampler=continuous: {len(prompts) - len(found)} of "
                f"{count_of(len(prompts), 'sequence')} "
                f"failed, as transformers says above: try a smaller sampler.batch_size or "
                f"sampler=cached"
            )
        return [_response(output, ends) for output in found]

    def release(self) -> None:
        """Let the manager go; the next call makes another."""
        if self._kept is not None:
            self._kept.release()
        self._kept = None

    def _greedy(
        self, model: LanguageModel, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[int], Tensor]]:
        """The likeliest tokens after each prompt, and their log-probabilities."""
        with plain_sampling(model.base, 3, 1.0, (0,)) as plain:
            plain.update(do_sample=False, top_k=50, eos_token_id=[-1])
            found = self._answers(model, prompts, plain, seed=0)
        self._drop(model)
        if len(found) < len(prompts):
            raise Fails("some sequences failed")
        return [(output.generated_tokens, torch.tensor(output.logprobs)) for output in found]

    def _answers(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        plain: GenerationConfig,
        seed: int,
    ) -> list[Any]:
        """transformers' outputs in the order of the prompts, without those that failed."""
        model.activate()
        found: list[Any] = []
        with _attention_kept(model.base), autocast_forward(model), torch.random.fork_rng():
            manager = self._manager(model, max(map(len, prompts)), plain)
            torch.manual_seed(seed)
            manager.start()
            try:
                found = _collected(manager, prompts, plain.max_new_tokens)
            finally:
                whole = len(found) == len(prompts)
                manager.stop(keep_for_next_session=whole, hard_stop=not whole)
                if not whole:
                    self._drop(model)
        return found

    def _manager(self, model: LanguageModel, longest: int, plain: GenerationConfig) -> Any:
        """The one that is kept where it will do, and knows of no prompt."""
        wanted = _Kept(longest, (model.adapter, plain.temperature, *plain.eos_token_id))
        if self._kept is not None and self._kept.serves(wanted, model.base):
            manager = model.base.init_continuous_batching()  # gives the model's own
        else:
            grown = max(longest, self._kept.longest if self._kept else 0)
            self._drop(model)
            manager = model.base.init_continuous_batching(
                plain, self._batching(grown), WorkloadHints(grown, self.response_length, self._rows)
            )
            manager.warmup()
            release = weakref.finalize(self, _release, model.base, manager)
            release.atexit = False
            self._kept = replace(wanted, longest=grown, manager=manager, release=release)
        manager.batch_processor.cache.reset()  # of prompts read with other weights, too
        return manager

    def _drop(self, model: LanguageModel) -> None:
        if self._kept is not None:
            self._kept.release.detach()
        self._kept = None
        model.base.destroy_cached_continuous_batching_manager()

    def _batching(self, longest: int) -> ContinuousBatchingConfig:
        """Room for as many of the longest sequences as are decoded together."""
        pages = -(-(longest + self.response_length) // self._page_size)
        return ContinuousBatchingConfig(
            page_size=self._page_size,
            num_blocks=self._rows * (pages + 1),
            max_batch_tokens=self._rows * longest,
            max_requests_per_batch=self._rows,
            return_logprobs=True,
            auto_switch_to_flash=self._attention is None,
            seed=0,  # every call has its own
        )


@dataclass(frozen=True)
class _Kept:
    """What a manager was made for."""

    longest: int
    """Tokens of the longest prompt."""
    drawing: tuple[Any, ...]
    """The adapter, the temperature, and what ends a sequence."""
    manager: Any = None
    release: Any = None
    """What lets it go with the sampler: a model and its manager refer to each other."""

    def serves(self, wanted: "_Kept", base: Any) -> bool:
        """Whether it is still the model's own, and draws what is wanted."""
        fits = self.longest >= wanted.longest and self.drawing == wanted.drawing
        return fits and _manager_of(base) is self.manager


def _manager_of(base: Any) -> Any:
    """The manager that transformers keeps in a model."""
    return getattr(base, "_cached_continuous_batching_manager", None)


def _release(base: Any, manager: Any) -> None:
    if _manager_of(base) is manager:
        base.destroy_cached_continuous_batching_manager()


def _collected(manager: Any, prompts: Sequence[Sequence[int]], length: int) -> list[Any]:
    names = manager.add_requests([list(prompt) for prompt in prompts], max_new_tokens=length)
    found: dict[str, Any] = {}
    while len(found) < len(names):
        output = manager.get_result(timeout=1)
        if output is not None and output.is_finished():
            found[output.request_id] = output
        elif output is None and not manager.is_running():
            break
    return [found[name] for name in names if name in found and found[name].error is None]


def _response(output: Any, ends: Ends) -> Response:
    ids = ends.cut(output.generated_tokens)
    return Response.from_ids(ids, output.logprobs[: len(ids)], ends)


@contextmanager
def _attention_kept(base: Any) -> Iterator[None]:
    """transformers leaves its paged attention in a model on which continuous batching fails."""
    kind = base.config._attn_implementation
    try:
        yield
    finally:
        if base.config._attn_implementation != kind:
            base.set_attn_implementation(kind)
