"""One batch of episodes: prompts answered by the policy, scored and compared with the reference.

Shape letters: B episodes, T response tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import unsharded
from rlhfkit.distributed.launch import wants_sharding
from rlhfkit.models.batch import TokenBatch
from rlhfkit.models.batch_size import AdaptiveBatchSize, how_many_fit
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.storage.state_file import State
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
    """Lower layers' states of the sequences, where all roles share these layers."""

    def __len__(self) -> int:
        return len(self.responses)

    def state_dict(self) -> State:
        """Everything but `lower`, which is computed again."""
        state = {item.name: getattr(self, item.name) for item in fields(self)}
        del state["lower"]
        return {**state, "responses": [vars(response) for response in self.responses]}

    @classmethod
    def from_state(cls, state: State, device: torch.device) -> "Rollout":
        """What `state_dict` gave; `raw_scores` stay where they were."""
        placed: dict[str, Any] = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in state.items()
        }
        return cls(**{**placed, "responses": [Response(**row) for row in state["responses"]]})

    @property
    def kl(self) -> Tensor:
        """[B, T] log pi - log pi_ref of the sampled tokens (k1), 0 off the mask."""
        return (self.logprobs - self.ref_logprobs) * self.response_mask

    def tokens(self, indices: Sequence[int]) -> int:
        """How many tokens the responses of some of the episodes have."""
        return sum(len(self.responses[index].ids) for index in indices)

    def batch(self, indices: Sequence[int], model: LanguageModel) -> TokenBatch:
        """Some of the episodes as tokens for a model."""
        return model.batch(
            [self.prompt_ids[index] for index in indices],
            [self.responses[index].ids for index in indices],
            self.lower.select(indices) if self.lower else None,
        )

    def micro_batches(self, indices: Sequence[int], size: int) -> list[list[int]]:
        """This process's share of `indices`, cut into groups of episodes of like length, each with
        no more tokens than `size` of the longest; completions of a prompt stand next to each
        other."""
        indices = processes.local_shard(indices)
        order, lengths = by_length(
            [self.prompt_ids[index] for index in indices],
            [self.responses[index].ids for index in indices],
        )
        groups = []
        while order:
            count = how_many_fit(lengths, size)
            groups.append([indices[place] for place in order[:count]])
            order, lengths = order[count:], lengths[count:]
        return evened(groups) if wants_sharding() else groups


def evened(groups: list[list[int]]) -> list[list[int]]:
    """As many groups as the process with the most has: of sharded models all gather the weights
    together, so all make as many passes."""
    wanted = max(processes.gather([len(groups)]))
    while len(groups) < wanted:
        place = max(range(len(groups)), key=lambda index: len(groups[index]))
        group = groups[place]
        groups[place : place + 1] = [group[: len(group) // 2], group[len(group) // 2 :]]
    return groups


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
