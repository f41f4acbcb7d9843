"""Prompts and responses as one right-padded batch.

Padding is told by lengths, never by comparing ids with the pad token, so a tokenizer whose pad
token is its EOS token is harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhfkit.models.lower_layers import LowerStates


@dataclass(frozen=True)
class TokenBatch:
    """B sequences of at most L tokens, of which at most T are the response's.

    Example: prompt [5, 6], response [7, 8] gives input_ids [5, 6, 7, 8], response_ids [7, 8] and
    state_index [1, 2]: the hidden state at 1 predicts token 7.
    """

    input_ids: Tensor
    """[B, L] prompt, then response, then padding."""

    attention_mask: Tensor
    """[B, L] 1 on prompt and response."""

    response_ids: Tensor
    """[B, T] the response's tokens."""

    response_mask: Tensor
    """[B, T] True on the response's tokens."""

    state_index: Tensor
    """[B, T] position in L of the hidden state that predicts each response token."""

    lower: LowerStates | None = None
    """Of `input_ids`, where they have been computed before."""

    @property
    def last_index(self) -> Tensor:
        """[B] position in L of the response's last token."""
        return self.attention_mask.sum(1) - 1


def make_batch(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    device: torch.device | str = "cpu",
    lower: LowerStates | None = None,
) -> TokenBatch:
    """Join B prompts with B responses (token ids; responses not empty)."""
    rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    starts = torch.tensor([len(prompt) for prompt in prompts])
    length = max(len(response) for response in responses)
    response_mask = _lengths_to_mask([len(response) for response in responses], length)
    state_index = (starts[:, None] - 1 + torch.arange(length)).where(response_mask, 0)
    return TokenBatch(
        input_ids=pad_right(rows).to(device),
        attention_mask=_lengths_to_mask([len(row) for row in rows], None).long().to(device),
        response_ids=pad_right(responses).to(device),
        response_mask=response_mask.to(device),
        state_index=state_index.to(device),
        lower=lower,
    )


def pad_right(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """[B, L] of token ids, filled up on the right."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


def _lengths_to_mask(lengths: Sequence[int], longest: int | None) -> Tensor:
    return torch.arange(longest or max(lengths))[None, :] < torch.tensor(lengths)[:, None]
