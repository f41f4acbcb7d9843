"""sampler=graph: decoding as the replay of one recorded step.

Eager decoding on a GPU waits for the host, which launches thousands of small operations a token.
Here all tensors stay in their places, so that a step is recorded once for each number of rows as a
CUDA graph; on other devices the same steps run one by one, with the same tokens. Places and graphs
stay from call to call, with ready weights that are written anew into their places.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlhfkit.context import Context
from rlhfkit.distributed.fsdp import sharded_parts
from rlhfkit.errors import UserError
from rlhfkit.models.attention import is_flash
from rlhfkit.models.decoding_weights import DecodingWeights, quantised_numbers
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.merging import merged_adapter
from rlhfkit.models.probing import follows, kind_of, say_once
from rlhfkit.models.spare_memory import offer
from rlhfkit.protocols import Sampler
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import GraphConfig
from rlhfkit_plugins.samplers.batched import BatchedSampler
from rlhfkit_plugins.samplers.cached import (
    CHECK_EVERY,
    CachedSampler,
    Decoding,
    Written,
    draw,
    number_type,
)
from rlhfkit_plugins.samplers.cuda_graphs import CudaGraphs
from rlhfkit_plugins.samplers.static_batch import Batch, Static, bucket
from rlhfkit_plugins.samplers.static_decoding import Places, StaticStep

ROUNDED_TO = 64
"""Tokens that the cache's length is a multiple of, as attention's kernels like it."""

SPARE = 2 * 2**30
"""Bytes that stay free beside a dequantised copy."""


class GraphSampler(BatchedSampler):
    """Plain sampling at a temperature; the tokens are those of sampler=cached."""

    def __init__(self, config: GraphConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._config = config
        planned = context is not None and context.dry_run is not None
        self._rounded_to = 1 if planned else ROUNDED_TO  # a plan tells long texts from short ones
        self._keep = config.keep
        self._weights: DecodingWeights | None = None
        self._static: Static | None = None
        """Places for steps with these weights."""
        self._longest = 0
        offer(self)

    @staticmethod
    def check_run(config: GraphConfig, context: Context) -> None:
        """Raise `UserError` for an attention that cannot read a cache with room left in it."""
        name = context.config.model.attn_implementation
        if is_flash(name):
            raise UserError(
                f"sampler=graph: needs an attention that takes masks, as sdpa, not "
                f"model.attn_implementation={name}; take sampler=cached, or sdpa"
            )

    def for_model(self, model: LanguageModel) -> Sampler:
        """This sampler; sampler=cached for a model that this way of decoding does not follow."""
        config = replace(self._config, temperature=1.0, response_length=4, keep=False)
        probe = GraphSampler(config)
        if not sharded_parts(model.module) and follows(model, partial(probe._drawn, model)):
            return self
        say_once(
            f"sampler=graph: {kind_of(model)} has a cache or an attention that this sampler cannot "
            f"drive; sampler=cached samples instead, which is slower on a GPU"
        )
        return CachedSampler(self._config).for_model(model)

    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        """With weights made ready, and with the adapter merged where that is exact.

        Nothing is kept beside what is merged, which is made anew for each call, and beside a copy
        of 4-bit layers that was only made because memory had room for it just now."""
        if not prompts:
            return []
        self._longest = max(map(len, prompts))
        keep = False
        merging = merged_adapter(model) if self._config.merge_adapters else nullcontext(False)
        with torch.no_grad(), merging as merged:
            try:
                weights = self._ready(model)
                with weights.installed():
                    found = super().sample(model, prompts, ends, generator)
                lent = self._config.dequantise is None and weights.dequantised
                keep = self._keep and not merged and not lent
            finally:
                if not keep:
                    self.release()
        return found

    def release(self) -> None:
        """Free what is kept from call to call."""
        self._static = self._weights = None

    def give_back(self) -> str | None:
        """Free it for something that runs out of memory, and keep nothing from now on."""
        if self._static is None:
            return None
        self.release()
        self._keep = False
        return "what sampler=graph keeps from call to call"

    def _ready(self, model: LanguageModel) -> DecodingWeights:
        """Those of the call before, where they serve: then recorded steps do."""
        if self._weights is not None and self._weights.serve(model):
            self._weights.refresh()
        else:
            self.release()
            self._weights = DecodingWeights(model, self._dequantises(model))
        return self._weights

    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        with _autocast(model):
            try:
                return self._decode(model, prompts, ends, generator)
            except BaseException:
                self._static = None  # its memory, where that was short
                raise

    def _decode(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        length = self._longest + self.response_length
        length = -(-length // self._rounded_to) * self._rounded_to
        static = self._room(model, prompts, length)
        started = Decoding.start(model, prompts)
        tokens, logprobs = draw(model, started.hidden, self.temperature, generator)
        step = partial(static.step, length=length, temperature=self.temperature)
        batch = Batch(static, step, Written.of(len(prompts)), ends)
        batch.fill(started, tokens, logprobs)
        left = self.response_length - 1
        while True:
            steps = min(left, batch.room)
            batch.run(steps, generator)
            left -= steps
            if left == 0 or not batch.open:
                break
            batch.shrink()
        batch.read_all()
        return batch.written.responses(ends)

    def _room(self, model: LanguageModel, prompts: Sequence[Sequence[int]], length: int) -> Static:
        """Places for the largest batch of this call and of those before, made before the first one
        is read, so that memory is as short then as it will ever be. Two tokens tell the shapes of a
        cache."""
        rows = bucket(len(prompts))
        if (kept := self._static) is not None:
            if kept.rows >= rows and kept.length >= length:
                return kept
            rows, length = max(rows, kept.rows), max(length, kept.length)
            self._static = kept = None  # before others are made
        started = Decoding.start(model, [prompts[0][:2]])
        assert self._weights is not None
        window = 1 if model.device.type == "cpu" else CHECK_EVERY
        places = Places.like(started, rows, length, window, number_type(model.device))
        graphs = CudaGraphs(model.device, self._config.capture)
        make = partial(StaticStep, model, self._weights.logits)
        self._static = Static(places, window, make, graphs)
        return self._static

    def _dequantises(self, model: LanguageModel) -> bool:
        """Whether 4-bit layers get a copy in half precision: as asked, or where it has room."""
        if self._config.dequantise is not None:
            return self._config.dequantise
        numbers = quantised_numbers(model)
        if model.device.type != "cuda" or numbers == 0:
            return False
        free = torch.cuda.mem_get_info(model.device)[0]
        free += torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return free - _width(model) * numbers > SPARE + self._cache_size(model)

    def _cache_size(self, model: LanguageModel) -> int:
        """Bytes of keys and values, at most."""
        config: Any = model.body.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        tokens = bucket(self.batch_size.size) * (self._longest + self.response_length)
        return int(2 * _width(model) * config.num_hidden_layers * heads * width * tokens)

    def _drawn(
        self, model: LanguageModel, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[int], Tensor]]:
        """What is drawn after each prompt, with its log-probabilities."""
        generator = torch.Generator(model.device).manual_seed(0)
        drawn = self.sample(model, prompts, Ends((-1,)), generator)
        return [(response.ids, torch.tensor(response.logprobs)) for response in drawn]


def _width(model: LanguageModel) -> int:
    """Bytes of a number in matrix products."""
    return (model.compute_dtype or torch.float32).itemsize


def _autocast(model: LanguageModel) -> AbstractContextManager[None]:
    """The model's mixed precision without its store of cast weights, which would be recorded."""
    if model.compute_dtype is None:
        return nullcontext()
    return torch.autocast(model.device.type, model.compute_dtype, cache_enabled=False)
