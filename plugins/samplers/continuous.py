"""sampler=continuous: transformers' continuous batching.

It is made for GPUs; here it only ever ran on a CPU, with the tests' tiny models.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.autocast_forward import autocast_forward
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.probing import follows, kind_of, say_once
from rlhfkit.protocols import Sampler
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import ContinuousConfig
from rlhfkit_plugins.samplers.generate import GenerateSampler
from rlhfkit_plugins.samplers.plain_sampling import plain_sampling


class ContinuousSampler:
    """`model.generate_batch` on all prompts at once, then log-probabilities by a second pass.

    It computes in a thread of its own, which autocast around the call does not reach. It knows ends
    of one token only: what comes after another kind of end is drawn in vain and thrown away.
    """

    def __init__(self, config: ContinuousConfig, context: Context | None = None) -> None:
        self.temperature = config.temperature
        self.response_length = config.response_length
        self._rows, self._page_size = config.batch_size, config.page_size
        self._score_size = AdaptiveBatchSize("log-probabilities of samples", config.batch_size)
        self._config = config

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
        model.activate()
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        settings = (self.response_length, self.temperature, ends.ids)
        with (
            _attention_kept(model.base),
            autocast_forward(model),
            plain_sampling(model.base, *settings) as plain,
        ):
            found = model.base.generate_batch(
                inputs=[list(prompt) for prompt in prompts],
                generation_config=plain,
                continuous_batching_config=self._batching(max(map(len, prompts)), seed),
            )
        ids = [
            ends.cut(output.generated_tokens) for output in found.values() if output.error is None
        ]
        if len(ids) < len(prompts):
            raise UserError(
                f"sampler=continuous: {len(prompts) - len(ids)} of {len(prompts)} sequences "
                f"failed, as transformers says above: try a smaller sampler.batch_size or "
                f"sampler=cached"
            )
        return self._scored(model, prompts, ids, ends)

    def _scored(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ids: list[list[int]],
        ends: Ends,
    ) -> list[Response]:
        rows = teacher_forced_logprobs(model, prompts, ids, self.temperature, self._score_size)
        return [
            Response.from_ids(row, values.tolist(), ends)
            for row, values in zip(ids, rows, strict=True)
        ]

    def _greedy(
        self, model: LanguageModel, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[int], Tensor]]:
        """The likeliest tokens after each prompt, and their log-probabilities."""
        model.activate()
        batching = self._batching(max(map(len, prompts)), seed=0)
        batching.return_logprobs = True
        with (
            _attention_kept(model.base),
            autocast_forward(model),
            plain_sampling(model.base, 3, 1.0, (0,)) as plain,
        ):
            plain.update(do_sample=False, top_k=50, eos_token_id=-1)
            found = model.base.generate_batch(
                inputs=[list(prompt) for prompt in prompts],
                generation_config=plain,
                continuous_batching_config=batching,
            )
        return [(item.generated_tokens, torch.tensor(item.logprobs)) for item in found.values()]

    def _batching(self, longest: int, seed: int) -> ContinuousBatchingConfig:
        """Room for as many of the longest sequences as are decoded together."""
        pages = -(-(longest + self.response_length) // self._page_size)
        return ContinuousBatchingConfig(
            page_size=self._page_size,
            num_blocks=self._rows * (pages + 1),
            max_batch_tokens=self._rows * longest,
            max_requests_per_batch=self._rows,
            seed=seed,
        )


@contextmanager
def _attention_kept(base: Any) -> Iterator[None]:
    """transformers leaves its paged attention in a model on which continuous batching fails."""
    kind = base.config._attn_implementation
    try:
        yield
    finally:
        if base.config._attn_implementation != kind:
            base.set_attn_implementation(kind)
