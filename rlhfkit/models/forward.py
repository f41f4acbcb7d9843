"""Passes over many sequences in batches of like length, put back in order."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import unsharded
from rlhfkit.models.batch import TokenBatch
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.lower_layers import LowerRows


def by_length(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]]:
    """Indices of sequences, shorter ones first and those of equal prompts next to each other, and
    the length that each counts with: the longest's of its prompt."""
    first: dict[tuple[int, ...], int] = {}
    longest: dict[int, int] = {}
    places = [first.setdefault(tuple(prompt), index) for index, prompt in enumerate(prompts)]
    for place, response in zip(places, responses, strict=True):
        longest[place] = max(longest.get(place, 0), len(prompts[place]) + len(response))
    order = sorted(range(len(prompts)), key=lambda index: (longest[places[index]], places[index]))
    return order, [longest[places[index]] for index in order]


@torch.no_grad()
def by_micro_batch(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    size: AdaptiveBatchSize,
    compute: Callable[[TokenBatch], Sequence[Tensor] | Tensor],
    lower: LowerRows | None = None,
) -> list[Tensor]:
    """`compute` over sequences of like length, put back in order: a row each. Several processes
    compute a share each, and all get all rows."""
    own = processes.local_shard(range(len(prompts)))
    places, lengths = by_length([prompts[row] for row in own], [responses[row] for row in own])
    order = [own[place] for place in places]
    results: dict[int, Tensor] = {}

    def of(rows: Sequence[int]) -> Sequence[Tensor] | Tensor:
        return compute(
            model.batch(
                [prompts[row] for row in rows],
                [responses[row] for row in rows],
                lower.select(rows) if lower else None,
            )
        )

    with unsharded(model.module):
        for rows, values in size.map(order, of, lengths):
            for row, value in zip(rows, values, strict=True):
                results[row] = value
    return processes.gather_tensors([results[row] for row in own])


def teacher_forced_logprobs(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    temperature: float,
    size: AdaptiveBatchSize,
    lower: LowerRows | None = None,
) -> list[Tensor]:
    """Log-probabilities [T_i] of given responses under a model, without gradients."""
    rows = by_micro_batch(
        model,
        prompts,
        responses,
        size,
        lambda batch: model.response_logprobs(batch, temperature)[0],
        lower,
    )
    return [row[: len(response)] for row, response in zip(rows, responses, strict=True)]


def lower_rows(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    depth: int,
    size: AdaptiveBatchSize,
) -> LowerRows | None:
    """What the lower layers make of sequences, to be computed with from there on; None for 0."""
    if depth == 0:
        return None

    def states(batch: TokenBatch) -> list[Tensor]:
        return batch.sequences(model.lower_states(batch, depth))

    return LowerRows(by_micro_batch(model, prompts, responses, size, states), depth)


def pad_rows(rows: Sequence[Tensor], length: int) -> Tensor:
    """[B, T] from B rows of at most `length` numbers, 0 behind."""
    padded = [
        torch.nn.functional.pad(row[:length], (0, length - len(row[:length]))) for row in rows
    ]
    return torch.stack(padded)
