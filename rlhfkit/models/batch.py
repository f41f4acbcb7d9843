"""Prompts and responses as one right-padded batch.

Padding is told by lengths, never by comparing ids with the pad token, so a tokenizer whose pad
token is its EOS token is harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhfkit.models.lower_layers import LowerRows, LowerStates
from rlhfkit.models.shared_prompt import SharedPrompts, shared_rows


@dataclass(frozen=True)
class TokenBatch:
    """N responses of at most T tokens, with their prompts in R rows of at most L tokens.

    Example: prompt [5, 6], response [7, 8] gives input_ids [5, 6, 7, 8], response_ids [7, 8] and
    state_index [1, 2]: the hidden state at 1 predicts token 7. Another response [9] to the same
    prompt has a row of its own, [5, 6, 9], or shares the first: [5, 6, 7, 8, 9], with state_index
    [1] and last_index 4.
    """

    input_ids: Tensor
    """[R, L] prompt, then its responses, then padding."""

    attention_mask: Tensor
    """[R, L] 1 on prompts and responses."""

    rows: Tensor
    """[N] the row that each response is in."""

    response_ids: Tensor
    """[N, T] the response's tokens."""

    response_mask: Tensor
    """[N, T] True on the response's tokens."""

    state_index: Tensor
    """[N, T] position in L of the hidden state that predicts each response token."""

    token_index: Tensor
    """[M] place of each token of the responses, one response after the other, in [N, T] laid flat:
    known beforehand, where indexing by the mask would wait for a GPU."""

    last_index: Tensor
    """[N] position in L of the response's last token."""

    shared: SharedPrompts | None = None
    """How, where responses share rows."""

    lower: LowerStates | None = None
    """Lower layers' states of `input_ids`, where they have been computed before."""

    def before_tokens(self, hidden: Tensor) -> Tensor:
        """[N, T, D] the states that predict each response token, of hidden states [R, L, D]."""
        return hidden[self.rows[:, None], self.state_index]

    def at_end(self, hidden: Tensor) -> Tensor:
        """[N, D] the states at each response's last token."""
        return hidden[self.rows, self.last_index]

    def sequences(self, hidden: Tensor) -> list[Tensor]:
        """N tensors [L_i, D]: the states of each prompt and response."""
        prompts = (self.state_index[:, 0] + 1).tolist()
        ends = (self.last_index + 1).tolist()
        lengths = self.response_mask.sum(1).tolist()
        parts = zip(self.rows.tolist(), prompts, lengths, ends, strict=True)
        return [
            torch.cat((hidden[row, :prompt], hidden[row, end - length : end]))
            for row, prompt, length, end in parts
        ]


def make_batch(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    device: torch.device | str = "cpu",
    lower: LowerRows | None = None,
    *,
    share_prompts: bool = False,
) -> TokenBatch:
    """Join N prompts with N responses (token ids, one at least).

    lower: of these sequences. share_prompts: equal prompts next to each other become one row.
    Raises ValueError where there is nothing, or nothing before a response to predict it from.
    """
    if not prompts or not all(map(len, prompts)) or not all(map(len, responses)):
        raise ValueError("a batch needs prompts and responses of a token at least")
    members = shared_rows(prompts) if share_prompts else [[n] for n in range(len(prompts))]
    ids: list[list[int]] = []
    starts: list[int] = []
    for group in members:
        ids.append([*prompts[group[0]]])
        for n in group:
            starts.append(len(ids[-1]))
            ids[-1] += responses[n]
    lengths = torch.tensor([len(response) for response in responses])
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
    first = torch.tensor(starts)
    response_ids = pad_right(responses)
    response_mask = _lengths_to_mask(lengths)
    state_index = first[:, None] - 1 + torch.arange(response_ids.shape[1])
    state_index[:, 0] = prompt_lengths - 1
    joined = len(members) < len(prompts)
    return TokenBatch(
        input_ids=pad_right(ids).to(device),
        attention_mask=_lengths_to_mask(torch.tensor([len(row) for row in ids])).long().to(device),
        rows=torch.tensor([row for row, group in enumerate(members) for _ in group]).to(device),
        response_ids=response_ids.to(device),
        response_mask=response_mask.to(device),
        token_index=response_mask.flatten().nonzero()[:, 0].to(device),
        state_index=state_index.where(response_mask, 0).to(device),
        last_index=(first + lengths - 1).to(device),
        shared=SharedPrompts.of(members, prompts, responses, device) if joined else None,
        lower=lower.batch(members, prompts) if lower else None,
    )


def pad_right(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """[B, L] of token ids, filled up on the right."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


def _lengths_to_mask(lengths: Tensor) -> Tensor:
    return torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
