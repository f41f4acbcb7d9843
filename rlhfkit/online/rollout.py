"""One batch of episodes: prompts answered by the policy, scored and compared with the reference.

Shape letters: B episodes, T response tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from rlhfkit.distributed import processes
from rlhfkit.distributed.launch import wants_sharding
from rlhfkit.models.batch import TokenBatch
from rlhfkit.models.batch_size import how_many_fit
from rlhfkit.models.forward import by_length
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.storage.state_file import State
from rlhfkit.types import Messages, Response


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """B episodes and everything the update needs of them; all tensors on the policy's device.

    Example: the prompts [5, 6] and [7] are answered by [8, 2], which ends with EOS, and by [9],
    which was cut off; B is 2 and T is 2:

        Rollout(
            prompts=[[{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Why"}]],
            prompt_ids=[[5, 6], [7]],
            completions=["Hello", "Because"],
            responses=[
                Response([8, 2], [-0.1, -0.7], ended=True),
                Response([9], [-0.3], ended=False),
            ],
            response_mask=tensor([[True, True], [True, False]]),
            logprobs=tensor([[-0.1, -0.7], [-0.3, 0.0]]),
            ref_logprobs=tensor([[-0.2, -0.7], [-0.4, 0.0]]),
            scores=tensor([1.0, -0.5]),
            raw_scores={"length": tensor([1.0, 0.5])},
        )

    Its `kl` is [[0.1, 0.0], [0.1, 0.0]], and `tokens([0, 1])` is 3.
    """

    prompts: list[Messages]
    """B conversations."""

    prompt_ids: list[list[int]]
    """B prompts as the policy reads them."""

    completions: list[str]
    """B texts of the responses, special tokens left out."""

    responses: list[Response]
    """B responses as they were sampled."""

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
        no more tokens than `size` of the longest, or than `size` in tokens; completions of a prompt
        stand next to each other."""
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
