"""One answer token by token, as it is drawn: for someone who waits for it."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import DynamicCache

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.probing import follows
from rlhfkit.types import Ends


class TokenStream:
    """Draws from one model; with its cache, where that can be driven so."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._cached = True
        self._cached = follows(model, partial(self._given, 3))

    @torch.no_grad()
    def answer(
        self, prompt: Sequence[int], ends: Ends, temperature: float, most: int
    ) -> Iterator[list[int]]:
        """The answer so far, each time with one token more, its end included. temperature: 0 takes
        the likeliest token."""
        ids, drawn = [*prompt], list[int]()
        cache = self._fresh_cache()
        while len(drawn) < most and ends.find(drawn) is None:
            logits = self._model.logits(self._next_state(ids, cache))[0]
            token = _drawn(logits, temperature)
            ids.append(token)
            drawn.append(token)
            yield drawn

    def _fresh_cache(self) -> DynamicCache | None:
        return DynamicCache(config=self._model.base.config) if self._cached else None

    def _next_state(self, ids: Sequence[int], cache: DynamicCache | None) -> Tensor:
        """[1, D] the state that predicts the token after `ids`."""
        seen = cache.get_seq_length() if cache is not None else 0
        device = self._model.device
        new = torch.tensor([ids[seen:]], device=device)
        if cache is None:
            return self._model.hidden_states(new, None)[:, -1]
        mask = torch.ones(1, len(ids), dtype=torch.long, device=device)
        positions = torch.arange(seen, len(ids), device=device)[None]
        return self._model.hidden_states(new, mask, positions, cache)[:, -1]

    def _given(
        self, count: int, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[int], Tensor]]:
        """Given tokens after each prompt, read as they are while an answer is drawn."""
        found = []
        for prompt in prompts:
            ids, cache = [*prompt], self._fresh_cache()
            logits = []
            for place in range(count):
                logits.append(self._model.logits(self._next_state(ids, cache))[0])
                ids.append(prompt[place % len(prompt)])
            found.append((ids[len(prompt) :], torch.stack(logits)))
        return found


def _drawn(logits: Tensor, temperature: float) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(torch.softmax(logits / temperature, -1), 1))
