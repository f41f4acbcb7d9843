"""A prompt and its K completions as one row, so that the prompt is computed once.

Position ids start again after the prompt for each completion, and the attention mask lets a
completion see the prompt and itself: the numbers are those of K rows that repeat the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlhfkit.models.batch import pad_right
from rlhfkit.models.scalar_model import ScalarModel

MODEL_TYPES = ("llama", "qwen2", "qwen3", "gemma3_text", "gpt2", "gpt_neox")
"""Architectures known to obey position ids and masks; others (ALiBi, state spaces, masks of their
own) would need a look of their own."""


@dataclass(frozen=True)
class SharedPromptBatch:
    """B rows of a prompt and its completions, N completions in all.

    Example: prompt [5, 6], completions [7] and [8, 9] give input_ids [5, 6, 7, 8, 9], position_ids
    [0, 1, 2, 2, 3], segments [0, 0, 1, 2, 2], rows [0, 0] and last_index [2, 4].
    """

    input_ids: Tensor
    """[B, L] prompt, then completions, then padding."""

    position_ids: Tensor
    """[B, L] places in the sequence that a token belongs to; 0 on padding."""

    segments: Tensor
    """[B, L] 0 on the prompt, k on the k-th completion, -1 on padding."""

    rows: Tensor
    """[N] each completion's row."""

    last_index: Tensor
    """[N] position in L of each completion's last token."""

    def mask(self, window: int | None = None) -> Tensor:
        """[B, 1, L, L] True where a token sees another, of the last `window` places at most."""
        length = self.input_ids.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=self.segments.device).tril()
        seen, seeing = self.segments[:, None, :], self.segments[:, :, None]
        mask = before & ((seen == 0) | (seen == seeing))
        if window is not None:
            mask &= self.position_ids[:, :, None] - self.position_ids[:, None, :] < window
        return mask[:, None]


def make_shared_batch(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    device: torch.device | str = "cpu",
) -> SharedPromptBatch:
    """Join each prompt with its completions (token ids; completions not empty)."""
    ids: list[list[int]] = []
    positions: list[list[int]] = []
    segments: list[list[int]] = []
    ends: list[tuple[int, int]] = []
    for row, (prompt, group) in enumerate(zip(prompts, completions, strict=True)):
        ids.append([*prompt])
        positions.append([*range(len(prompt))])
        segments.append([0] * len(prompt))
        for number, completion in enumerate(group, start=1):
            ids[-1] += completion
            positions[-1] += range(len(prompt), len(prompt) + len(completion))
            segments[-1] += [number] * len(completion)
            ends.append((row, len(ids[-1]) - 1))
    rows, last_index = torch.tensor(ends).T
    return SharedPromptBatch(
        input_ids=pad_right(ids).to(device),
        position_ids=pad_right(positions).to(device),
        segments=pad_right(segments, -1).to(device),
        rows=rows.to(device),
        last_index=last_index.to(device),
    )


def worth_sharing(
    body: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
) -> bool:
    """Whether a model can take a prompt's completions in one row, and computes less that way.

    Long completions of short prompts do not: attention is computed of all pairs of a row's tokens.
    """
    config = body.config
    if config.model_type not in MODEL_TYPES or config._attn_implementation not in ("sdpa", "eager"):
        return False
    groups = [[len(ids) for ids in group] for group in completions]
    lengths = [len(prompt) for prompt in prompts]
    apart = max(n + max(group) for n, group in zip(lengths, groups, strict=True))
    joined = max(n + sum(group) for n, group in zip(lengths, groups, strict=True))
    width = int(config.hidden_size)
    return _work(len(lengths), joined, width) < _work(sum(map(len, groups)), apart, width)


def shared_scores(
    model: ScalarModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
) -> Tensor:
    """[N] the number at the last token of each completion, as `ScalarModel.scores` gives it."""
    language_model = model.language_model
    batch = make_shared_batch(prompts, completions, language_model.device)
    masks = attention_masks(batch, language_model.body)
    hidden = language_model.hidden_states(batch.input_ids, masks, batch.position_ids)
    scores: Tensor = model.head(hidden[batch.rows, batch.last_index].float()).squeeze(-1)
    return scores


def attention_masks(batch: SharedPromptBatch, body: Any) -> Tensor | dict[str, Tensor]:
    """What a transformers body takes as it is: a mask, or one per type of layer."""
    config = body.config
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        return _for_attention(batch.mask(), body)
    windows = {"full_attention": None, "sliding_attention": config.sliding_window}
    return {kind: _for_attention(batch.mask(windows[kind]), body) for kind in set(kinds)}


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
