"""sampler=cached: a decoding loop that stops paying for sequences once they end."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from transformers import DynamicCache

from rlhfkit.context import Context
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.merging import merged_adapter
from rlhfkit.models.probing import follows, kind_of, say_once
from rlhfkit.models.shared_prompt import decoding_mask
from rlhfkit.protocols import Sampler
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import CachedConfig
from rlhfkit_plugins.samplers.batched import BatchedSampler
from rlhfkit_plugins.samplers.generate import GenerateSampler

CHUNK_LOGITS = 2**22
"""How many logits are held at once while tokens are drawn: 16 MiB in float32."""

CHECK_EVERY = 8
"""Tokens between two looks at which sequences have ended, on an accelerator: each look waits for
it, and what an ended sequence says meanwhile is thrown away. A CPU has nothing to wait for."""


class CachedSampler(BatchedSampler):
    """Plain sampling at a temperature, batched, with a KV cache."""

    def __init__(self, config: CachedConfig, context: Context | None = None) -> None:
        super().__init__(config, context)
        self._merge_adapters = config.merge_adapters
        self._config = config

    def for_model(self, model: LanguageModel) -> Sampler:
        """This sampler; transformers' `generate` for a model whose cache this loop cannot drive."""
        if follows(model, partial(_decoded, model)):
            return self
        say_once(
            f"sampler=cached: {kind_of(model)} has a cache that this sampler cannot drive; "
            f"transformers' generate samples instead, which is slower"
        )
        return GenerateSampler(self._config).for_model(model)

    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        """With the adapter merged, where that is exact."""
        with merged_adapter(model) if self._merge_adapters else nullcontext():
            return super().sample(model, prompts, ends, generator)

    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        state = Decoding.start(model, prompts)
        check_every = 1 if model.device.type == "cpu" else CHECK_EVERY
        with model.autocast():  # around the loop, so that weights are cast once
            for step in range(1, self.response_length + 1):
                state.record(*draw(model, state.hidden, self.temperature, generator))
                last = step == self.response_length
                if last or step % check_every == 0:
                    state.drop_ended(ends)
                if last or not state.rows:
                    break
                state.advance(model)
        return state.written.responses(ends)


def draw(
    model: LanguageModel, hidden: Tensor, temperature: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """[B] tokens from the states [B, D] before them, and [B] their log-probabilities.

    One uniform number a row, drawn for all rows at once, so that chunks do not change the draws;
    logits and what comes of them exist for a chunk of rows only.
    """
    device = hidden.device
    dtype = number_type(device)
    uniform = torch.rand(len(hidden), 1, generator=generator, device=device, dtype=dtype)
    rows = max(1, CHUNK_LOGITS // len(model.head.weight))
    drawn = [
        _draw(scaled(model.logits(part), temperature), part_uniform)
        for part, part_uniform in zip(
            torch.split(hidden, rows), torch.split(uniform, rows), strict=True
        )
    ]
    tokens, logprobs = zip(*drawn, strict=True)
    return torch.cat(tokens), torch.cat(logprobs)


def scaled(logits: Tensor, temperature: float) -> Tensor:
    """Logits at a temperature, in place."""
    return logits if temperature == 1 else logits.div_(temperature)


def number_type(device: torch.device) -> torch.dtype:
    """What tokens are drawn by: MPS has no float64, and consumer cards hardly any."""
    return torch.float64 if device.type == "cpu" else torch.float32


def _draw(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens by inverting the cumulative distribution: noise for every logit would cost as much as
    a tenth of the model. In float64 the rare tokens at the end are not rounded away; in float32 a
    probability may be wrong by 1e-7."""
    logprobs = torch.log_softmax(logits, dim=-1)
    cumulative = logprobs.exp().cumsum(dim=-1, dtype=uniform.dtype)
    tokens = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    tokens = tokens.clamp(max=logits.shape[-1] - 1)  # where the product was rounded up
    return tokens[:, 0], logprobs.gather(1, tokens)[:, 0]


def _decoded(
    model: LanguageModel, prompts: Sequence[Sequence[int]]
) -> list[tuple[list[int], Tensor]]:
    """Three given tokens after each prompt, read as they are while sampling: equal prompts once,
    and after the first token without the first sequence."""
    ids: list[list[int]] = [[] for _ in prompts]
    logits: list[list[Tensor]] = [[] for _ in prompts]
    state = Decoding.start(model, prompts)
    for step in range(3):
        tokens = [prompts[0][(row + step) % len(prompts[0])] for row in state.rows]
        for row, token, found in zip(state.rows, tokens, model.logits(state.hidden), strict=True):
            ids[row].append(token)
            logits[row].append(found)
        state.last = torch.tensor(tokens, device=model.device)
        if step == 0:
            state.rows = state.rows[1:]
            state._take(state.rows)
        state.advance(model)
    return [(row, torch.stack(found)) for row, found in zip(ids, logits, strict=True)]


@dataclass
class Written:
    """What all sequences of a batch have so far."""

    ids: list[list[int]]
    logprobs: list[list[float]]

    @classmethod
    def of(cls, count: int) -> "Written":
        """So many, all empty."""
        return cls([[] for _ in range(count)], [[] for _ in range(count)])

    def extend(self, row: int, tokens: list[int], logprobs: list[float], ends: Ends) -> bool:
        """Add what was drawn, up to an end; gives whether the sequence goes on."""
        ids, before = self.ids[row], len(self.ids[row])
        ids += tokens
        length = ends.find(ids, before)
        if length is not None:
            del ids[length:]
        self.logprobs[row] += logprobs[: len(ids) - before]
        return length is None

    def responses(self, ends: Ends) -> list[Response]:
        """All of them, as they are."""
        pairs = zip(self.ids, self.logprobs, strict=True)
        return [Response.from_ids(ids, logprobs, ends) for ids, logprobs in pairs]


@dataclass
class Decoding:
    """The sequences still being written (`rows`), and what all of them have so far."""

    rows: list[int]
    cache: DynamicCache
    mask: Tensor
    """[rows, positions so far] 1 on tokens, 0 on the padding left of short prompts."""
    hidden: Tensor
    """[rows, D] state that predicts the next token."""
    last: Tensor
    """[rows] the token drawn last."""
    written: Written
    unread: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """[rows] tokens and log-probabilities of the steps since the last look at them."""

    @classmethod
    def start(cls, model: LanguageModel, prompts: Sequence[Sequence[int]]) -> "Decoding":
        """Read the prompts, padded on the left so that all end at the same position; equal ones
        are read once, and what was made of them is copied."""
        read = list(dict.fromkeys(map(tuple, prompts))) if model.share_prompts else prompts
        longest = max(len(prompt) for prompt in read)
        pads = [longest - len(prompt) for prompt in read]
        input_ids = torch.tensor(
            [[0] * pad + list(prompt) for pad, prompt in zip(pads, read, strict=True)],
            device=model.device,
        )
        positions = torch.arange(longest, device=model.device)
        mask = (positions[None, :] >= torch.tensor(pads, device=model.device)[:, None]).long()
        cache = DynamicCache(config=model.base.config)
        position_ids = (mask.cumsum(1) - 1).clamp(min=0)
        hidden = model.hidden_states(input_ids, mask, position_ids, cache)[:, -1].clone()
        rows = list(range(len(prompts)))
        state = cls(rows, cache, mask, hidden, input_ids[:, -1], Written.of(len(rows)))
        if len(read) < len(prompts):
            place = {prompt: index for index, prompt in enumerate(read)}
            state._take([place[tuple(prompt)] for prompt in prompts])
        return state

    def _take(self, indices: Sequence[int]) -> None:
        """Go on with these rows of the batch only, some perhaps more than once."""
        index = torch.tensor(indices, device=self.mask.device)
        self.mask, self.hidden, self.last = self.mask[index], self.hidden[index], self.last[index]
        self.cache.reorder_cache(index)  # which recurrent states have too

    def record(self, tokens: Tensor, logprobs: Tensor) -> None:
        """One token more for every open sequence; nothing is waited for."""
        self.last = tokens
        self.unread.append((tokens, logprobs))

    def drop_ended(self, ends: Ends) -> None:
        """Read the tokens drawn since the last time, and take sequences that ended out of the batch
        and the cache."""
        tokens, logprobs = (
            torch.stack(part, 1).tolist() for part in zip(*self.unread, strict=True)
        )
        self.unread.clear()
        keep = [
            index
            for index, row in enumerate(self.rows)
            if self.written.extend(row, tokens[index], logprobs[index], ends)
        ]
        if len(keep) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in keep]
        if keep:
            self._take(keep)

    def advance(self, model: LanguageModel) -> None:
        """Read the token drawn last."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=1)
        position_ids = self.mask.sum(1, keepdim=True) - 1
        mask = decoding_mask(self.mask, model.body)
        self.hidden = model.hidden_states(self.last[:, None], mask, position_ids, self.cache)[:, -1]
