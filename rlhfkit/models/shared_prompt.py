"""A prompt and its K completions as one row, so that the prompt is computed once.

Position ids start again after the prompt for each completion, and the attention mask lets a
completion see the prompt and itself: the numbers are those of K rows that repeat the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

MODEL_TYPES = ("llama", "qwen2", "qwen3", "gemma3_text", "gpt2", "gpt_neox")
"""Architectures known to obey position ids and masks; others (ALiBi, state spaces, masks of their
own) would need a look of their own."""


@dataclass(frozen=True)
class SharedPrompts:
    """How R rows are made of prompts with their completions.

    Example: prompt [5, 6], completions [7] and [8, 9] in a row [5, 6, 7, 8, 9] have position_ids
    [0, 1, 2, 2, 3] and segments [0, 0, 1, 2, 2].
    """

    position_ids: Tensor
    """[R, L] places in the sequence that a token belongs to; 0 on padding."""

    segments: Tensor
    """[R, L] 0 on the prompt, k on the k-th completion, -1 on padding."""

    @classmethod
    def of(
        cls,
        members: Sequence[Sequence[int]],
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        device: torch.device | str,
    ) -> "SharedPrompts":
        """members: of each row, the indices of its completions."""
        positions, segments = [], []
        for group in members:
            start = len(prompts[group[0]])
            lengths = [len(completions[index]) for index in group]
            parts = [torch.arange(start), *(torch.arange(start, start + n) for n in lengths)]
            positions.append(torch.cat(parts))
            numbers = torch.arange(len(lengths) + 1)
            segments.append(numbers.repeat_interleave(torch.tensor([start, *lengths])))
        return cls(
            pad_sequence(positions, batch_first=True).to(device),
            pad_sequence(segments, batch_first=True, padding_value=-1).to(device),
        )

    def mask(self, window: int | None = None) -> Tensor:
        """[R, 1, L, L] True where a token sees another, of the last `window` places at most."""
        length = self.segments.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=self.segments.device).tril()
        seen, seeing = self.segments[:, None, :], self.segments[:, :, None]
        mask = before & ((seen == 0) | (seen == seeing))
        if window is not None:
            mask &= self.position_ids[:, :, None] - self.position_ids[:, None, :] < window
        return mask[:, None]


def shared_rows(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of equal prompts that stand next to each other, a list each."""
    rows: list[list[int]] = []
    for index, prompt in enumerate(prompts):
        if rows and prompts[rows[-1][0]] == prompt:
            rows[-1].append(index)
        else:
            rows.append([index])
    return rows


def worth_sharing(
    body: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> bool:
    """Whether a model can take equal prompts that stand next to each other in one row, and computes
    less that way.

    Long completions of short prompts do not: attention is computed of all pairs of a row's tokens.
    """
    if not _obeys_masks(body):
        return False
    rows = shared_rows(prompts)
    pairs = zip(prompts, completions, strict=True)
    apart = max(len(prompt) + len(ids) for prompt, ids in pairs)
    joined = max(len(prompts[row[0]]) + sum(len(completions[n]) for n in row) for row in rows)
    width = int(body.config.hidden_size)
    return _work(len(rows), joined, width) < _work(len(prompts), apart, width)


def attention_masks(shared: SharedPrompts, body: Any) -> Tensor | dict[str, Tensor]:
    """What a transformers body takes as it is: a mask, or one per type of layer."""
    config = body.config
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        return _for_attention(shared.mask(), body)
    windows = {"full_attention": None, "sliding_attention": config.sliding_window}
    return {kind: _for_attention(shared.mask(windows[kind]), body) for kind in set(kinds)}


def decoding_mask(mask: Tensor, body: Any) -> Tensor:
    """A mask [B, L] for one new token a row, as attention takes it where the model is known to take
    it: to make it of the plain one, transformers would wait for the device at every token."""
    sliding = "sliding_attention" in (getattr(body.config, "layer_types", None) or ())
    if mask.device.type == "cpu" or sliding or not _obeys_masks(body):
        return mask
    return _for_attention(mask.bool()[:, None, None], body)


def right_padded_mask(mask: Tensor, body: Any) -> Tensor | None:
    """A mask [B, L] of padding on the right, or none where none is needed: causal attention does
    not see what follows. Without one sdpa takes its fastest kernel and transformers waits for
    nothing; on a CPU it stays, and with it every digit."""
    return mask if mask.device.type == "cpu" or body.config.model_type not in MODEL_TYPES else None


def _obeys_masks(body: Any) -> bool:
    config = body.config
    return config.model_type in MODEL_TYPES and config._attn_implementation in ("sdpa", "eager")


def _for_attention(mask: Tensor, body: Any) -> Tensor:
    """Eager attention adds its mask; sdpa takes it as it is."""
    if body.config._attn_implementation == "sdpa":
        return mask
    lowest = torch.finfo(body.dtype).min
    return torch.zeros(mask.shape, dtype=body.dtype, device=mask.device).masked_fill(~mask, lowest)


def _work(rows: int, length: int, width: int) -> int:
    """Multiplications of a layer, in twice its width: 12 x width^2 a token in matrices, 2 x width
    a pair of tokens in attention."""
    return rows * length * (6 * width + length)
