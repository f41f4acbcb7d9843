"""Decoding in tensors that never move, so that one step is the same work on the same places every
time and can be recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.probing import Fails
from rlhfkit_plugins.samplers.cached import Decoding, scaled
from rlhfkit_plugins.samplers.drawing import draw_in_blocks

Logits = Callable[[Tensor], Tensor]


@dataclass
class Places:
    """What a step reads and writes, for B rows of at most S tokens, in a window of W steps."""

    keys: list[Tensor]
    """[B, heads, S, D] of each layer."""
    values: list[Tensor]
    mask: Tensor
    """[B, 1, 1, S] what is added to attention's scores: 0 on tokens, lowest elsewhere."""
    positions: Tensor
    """[B, 1] the place of the next token in its sequence."""
    last: Tensor
    """[B] the token drawn last, which is read next."""
    uniform: Tensor
    """[W, B] the numbers that tokens are drawn by."""
    tokens: Tensor
    """[W, B] the tokens drawn."""
    logprobs: Tensor
    """[W, B] their log-probabilities."""
    write_at: Tensor
    """[1] the place in the cache of the next token, the same for all rows."""
    step: Tensor
    """[1] the step in the window."""

    @classmethod
    def like(cls, started: Decoding, rows: int, length: int, window: int, number: Any) -> "Places":
        """Room for rows that were started like these. number: type of the uniform numbers."""
        layers = _layers(started)
        device = started.mask.device
        dtype = layers[0].keys.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)

        def room(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        def cached(states: Tensor) -> Tensor:
            return room(rows, states.shape[1], length, states.shape[3], dtype=dtype)

        return cls(
            keys=[cached(layer.keys) for layer in layers],
            values=[cached(layer.values) for layer in layers],
            mask=room(rows, 1, 1, length, dtype=dtype),
            positions=room(rows, 1, dtype=torch.long),
            last=room(rows, dtype=torch.long),
            uniform=room(window, rows, dtype=number),
            tokens=room(window, rows, dtype=torch.long),
            logprobs=room(window, rows, dtype=torch.float32),
            write_at=room(1, dtype=torch.long),
            step=room(1, dtype=torch.long),
        )

    def fill(self, started: Decoding, tokens: Tensor, logprobs: Tensor) -> None:
        """Take over prompts that were read, and the token drawn after each."""
        rows, length = started.mask.shape
        for place, layer in enumerate(_layers(started)):
            self.keys[place][:rows, :, :length] = layer.keys
            self.values[place][:rows, :, :length] = layer.values
            layer.keys = layer.values = None  # so that one layer at a time is there twice
        self.mask.fill_(torch.finfo(self.mask.dtype).min)
        self.mask[:rows, 0, 0, :length].masked_fill_(started.mask.bool(), 0)
        self.positions.zero_()
        self.positions[:rows] = started.mask.sum(1, keepdim=True)
        self.write_at.fill_(length)
        self.last[:rows] = tokens
        self.tokens[0, :rows], self.logprobs[0, :rows] = tokens, logprobs
        self.step.fill_(1)

    def first(self, rows: int, length: int) -> "Places":
        """The same places, of the first rows and for sequences up to a length only."""
        across, one = ("uniform", "tokens", "logprobs"), ("write_at", "step")

        def part(name: str, value: Any) -> Any:
            if isinstance(value, list):
                return [tensor[:rows, :, :length] for tensor in value]
            if name == "mask":
                return value[:rows, :, :, :length]
            if name in one:
                return value
            return value[:, :rows] if name in across else value[:rows]

        found = {item.name: part(item.name, getattr(self, item.name)) for item in fields(self)}
        return Places(**found)

    def take(self, index: Tensor) -> None:
        """Let the first rows be those of `index` [n], in their order."""
        for tensor in (*self.keys, *self.values, self.mask, self.positions, self.last):
            tensor[: len(index)] = tensor.index_select(0, index)

    def small(self) -> list[Tensor]:
        """All that a step changes, apart from the cache."""
        written = [self.tokens, self.logprobs, self.write_at, self.step]
        return [self.mask, self.positions, self.last, *written]


class StaticStep:
    """Reads the last tokens and draws the next; called again, it does the same one place on."""

    def __init__(
        self, model: LanguageModel, logits: Logits, places: Places, temperature: float
    ) -> None:
        self._model, self._logits = model, logits
        self._temperature = temperature
        self.places = places
        layers = zip(places.keys, places.values, strict=True)
        self._cache = Cache(layers=[_StaticLayer(*layer, places.write_at) for layer in layers])

    def __call__(self) -> None:
        at = self.places
        at.mask.index_fill_(3, at.write_at, 0)
        read = at.last[:, None]
        hidden = self._model.hidden_states(read, at.mask, at.positions, self._cache)[:, -1]
        logits = scaled(self._logits(hidden), self._temperature)
        uniform = at.uniform.index_select(0, at.step)[0, :, None]
        tokens, logprobs = draw_in_blocks(logits, uniform)
        at.last.copy_(tokens)
        at.tokens.index_copy_(0, at.step, tokens[None])
        at.logprobs.index_copy_(0, at.step, logprobs[None])
        for counter in (at.positions, at.write_at, at.step):
            counter.add_(1)


class _StaticLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values; a token's are written where a counter on the device says."""

    is_sliding = False

    def __init__(self, keys: Tensor, values: Tensor, write_at: Tensor) -> None:
        super().__init__()
        self.keys, self.values, self._write_at = keys, values, write_at
        self.is_initialized = True

    def lazy_initialization(self, *_: Any) -> None:
        """Nothing: the room is there."""

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write those of one token a row; gives those of all tokens."""
        self.keys.index_copy_(2, self._write_at, keys.to(self.keys.dtype))
        self.values.index_copy_(2, self._write_at, values.to(self.values.dtype))
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what attention sees."""
        return self.keys.shape[2], 0

    def get_seq_length(self) -> Any:
        """How many tokens have been read."""
        return self._write_at

    def get_max_length(self) -> int:
        """How many there is room for."""
        return int(self.keys.shape[2])


def _layers(started: Decoding) -> Sequence[Any]:
    """The layers of a cache that grows with every token; `Fails` for other kinds."""
    layers: Sequence[Any] = started.cache.layers
    if any(type(layer) is not DynamicLayer for layer in layers):
        raise Fails("its cache is not plain keys and values of all tokens")
    return layers
