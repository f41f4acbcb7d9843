"""sampler=generate: transformers' own decoding; slower, kept as the independent reference and for
models whose caches the other sampler does not know."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers.batched import BatchedSampler
from rlhfkit_plugins.samplers.plain_sampling import plain_sampling


class GenerateSampler(BatchedSampler):
    """`model.generate`, then the log-probabilities by one teacher-forced pass."""

    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        longest = max(len(prompt) for prompt in prompts)
        rows = [[ends.taught] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        model.activate()
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        settings = (self.response_length, self.temperature, ends.ids)
        with (
            torch.random.fork_rng(),
            model.autocast(),
            plain_sampling(model.base, *settings) as plain,
        ):
            torch.manual_seed(seed)
            output = model.base.generate(
                input_ids=torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=plain,
                stopping_criteria=_at_strings(ends, longest),
            )
        ids = [ends.cut(row) for row in output[:, longest:].tolist()]
        logprobs, _ = model.response_logprobs(model.batch(prompts, ids), self.temperature)
        return [
            Response.from_ids(row, values[: len(row)], ends)
            for row, values in zip(ids, logprobs.tolist(), strict=True)
        ]


def _at_strings(ends: Ends, prompt_length: int) -> StoppingCriteriaList:
    """What ends a sequence beside the tokens that transformers knows."""
    criteria = [_EndsReached(ends, prompt_length)] if ends.strings else []
    return StoppingCriteriaList(criteria)


class _EndsReached(StoppingCriteria):  # type: ignore[misc]
    """By this project's rule, in place of transformers' own for texts."""

    def __init__(self, ends: Ends, prompt_length: int) -> None:
        self._ends, self._prompt_length = ends, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        rows = input_ids[:, self._prompt_length :].tolist()
        ended = [self._ends.ended(row) for row in rows]
        return torch.tensor(ended, device=input_ids.device)
