"""One batch of episodes: prompts answered by the policy, scored and compared with the reference.

Shape letters: B episodes, T response tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhfkit.models.batch import TokenBatch, make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.out_of_memory import BatchSize, how_many_fit
from rlhfkit.types import Messages, Response


@dataclass(frozen=True)
class Rollout:
    """B episodes and everything the update needs of them; all tensors on the policy's device."""

    prompts: list[Messages]
    prompt_ids: list[list[int]]
    completions: list[str]
    responses: list[Response]

    response_mask: Tensor
    """[B, T] True on the tokens of each response."""

    logprobs: Tensor
    """[B, T] of the tokens under the policy that sampled them."""

    ref_logprobs: Tensor
    """[B, T] of the tokens under the reference."""

    scores: Tensor
    """[B] weighted sum of the rewards, clipped, less the missing-EOS penalty."""

    raw_scores: Mapping[str, Tensor]
    """[B] by reward function, before weights."""

    lower: LowerRows | None = None
    """Of prompts and responses, where all roles share the lower layers."""

    def __len__(self) -> int:
        return len(self.responses)

    @property
    def kl(self) -> Tensor:
        """[B, T] log pi - log pi_ref of the sampled tokens (k1), 0 off the mask."""
        return (self.logprobs - self.ref_logprobs) * self.response_mask

    def batch(self, indices: Sequence[int]) -> TokenBatch:
        """Some of the episodes as padded tokens."""
        return make_batch(
            [self.prompt_ids[index] for index in indices],
            [self.responses[index].ids for index in indices],
            self.response_mask.device,
            self.lower.batch(indices) if self.lower else None,
        )

    def micro_batches(self, indices: Sequence[int], size: int) -> list[list[int]]:
        """`indices` cut into groups of episodes of like length, each with no more tokens than
        `size` of the longest."""
        left = sorted(indices, key=self._length)
        groups = []
        while left:
            count = how_many_fit([self._length(index) for index in left], size)
            groups.append(left[:count])
            left = left[count:]
        return groups

    def _length(self, index: int) -> int:
        return len(self.prompt_ids[index]) + len(self.responses[index].ids)


@torch.no_grad()
def by_micro_batch(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    size: BatchSize,
    compute: Callable[[TokenBatch], Tensor],
    device: torch.device,
    lower: LowerRows | None = None,
) -> list[Tensor]:
    """`compute` over sequences of like length, put back in order: a row each."""
    lengths = [len(prompt) + len(ids) for prompt, ids in zip(prompts, responses, strict=True)]
    order = sorted(range(len(prompts)), key=lengths.__getitem__)
    results: list[Tensor | None] = [None] * len(prompts)

    def of(rows: Sequence[int]) -> Tensor:
        return compute(
            make_batch(
                [prompts[row] for row in rows],
                [responses[row] for row in rows],
                device,
                lower.batch(rows) if lower else None,
            )
        )

    for rows, values in size.map(order, of, [lengths[row] for row in order]):
        for row, value in zip(rows, values, strict=True):
            results[row] = value
    return [values for values in results if values is not None]


def teacher_forced_logprobs(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    temperature: float,
    size: BatchSize,
    lower: LowerRows | None = None,
) -> list[Tensor]:
    """Log-probabilities [T_i] of given responses under a model, without gradients."""
    rows = by_micro_batch(
        prompts,
        responses,
        size,
        lambda batch: model.response_logprobs(batch, temperature)[0],
        model.device,
        lower,
    )
    return [row[: len(response)] for row, response in zip(rows, responses, strict=True)]


def lower_rows(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    depth: int,
    size: BatchSize,
) -> LowerRows | None:
    """What the lower layers make of sequences, to be computed with from there on; None for 0."""
    if depth == 0:
        return None
    rows = by_micro_batch(
        prompts, responses, size, lambda batch: model.lower_states(batch, depth), model.device
    )
    lengths = [len(prompt) + len(ids) for prompt, ids in zip(prompts, responses, strict=True)]
    return LowerRows([row[:n].clone() for row, n in zip(rows, lengths, strict=True)], depth)


def pad_rows(rows: Sequence[Tensor], length: int) -> Tensor:
    """[B, T] from B rows of at most `length` numbers, 0 behind."""
    padded = [
        torch.nn.functional.pad(row[:length], (0, length - len(row[:length]))) for row in rows
    ]
    return torch.stack(padded)
