"""sampler=generate: transformers' own decoding; slower, kept as the independent reference and for
models whose caches the other sampler does not know."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.probing import follows, kind_of, name_of, say_once
from rlhfkit.protocols import Sampler
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers.batched import BatchedSampler
from rlhfkit_plugins.samplers.plain_sampling import plain_sampling


class GenerateSampler(BatchedSampler):
    """`model.generate`, then the log-probabilities by one teacher-forced pass."""

    use_cache = True
    """False for a model whose own cache forgets what it was given."""

    def for_model(self, model: LanguageModel) -> Sampler:
        """This sampler, set to the fastest way in which `generate` follows the model; `UserError`
        for none."""
        ways = [(False, True), (True, True), (True, False)]
        for self.equal_lengths, self.use_cache in ways:
            if follows(model, partial(self._greedy, model)):
                break
        else:
            raise UserError(
                f"{name_of(model)}: cannot be sampled from: transformers' generate does not follow "
                f"the model's own forward pass"
            )
        if self.equal_lengths:
            cache = "" if self.use_cache else " and without a cache"
            say_once(
                f"{kind_of(model)}: transformers' generate follows this model for prompts of one "
                f"length at a time only{cache}, which is slower"
            )
        return self

    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        longest = max(len(prompt) for prompt in prompts)
        model.activate()
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        settings = (self.response_length, self.temperature, ends.ids, self.use_cache)
        with (
            torch.random.fork_rng(),
            model.autocast(),
            plain_sampling(model.base, *settings) as plain,
        ):
            torch.manual_seed(seed)
            output = model.base.generate(
                **_padded(model, prompts, ends.taught),
                generation_config=plain,
                stopping_criteria=_at_strings(ends, longest),
            )
        ids = [ends.cut(row) for row in output[:, longest:].tolist()]
        logprobs, _ = model.response_logprobs(model.batch(prompts, ids), self.temperature)
        return [
            Response.from_ids(row, values[: len(row)], ends)
            for row, values in zip(ids, logprobs.tolist(), strict=True)
        ]

    def _greedy(
        self, model: LanguageModel, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[int], Tensor]]:
        """The likeliest tokens after each prompt, and [T, V] the logits that they come from."""
        if self.equal_lengths and len(prompts) > 1:
            return [found for prompt in prompts for found in self._greedy(model, [prompt])]
        model.activate()
        with model.autocast(), plain_sampling(model.base, 3, 1.0, (0,), self.use_cache) as plain:
            plain.update(do_sample=False, top_k=50, eos_token_id=None)
            plain.update(output_logits=True, return_dict_in_generate=True)
            output = model.base.generate(**_padded(model, prompts, 0), generation_config=plain)
        tokens = output.sequences[:, -len(output.logits) :].tolist()
        return list(zip(tokens, torch.stack(output.logits, 1).float(), strict=True))


def _padded(
    model: LanguageModel, prompts: Sequence[Sequence[int]], filling: int
) -> dict[str, Tensor]:
    """Prompts as `generate` takes them, which end at the same position."""
    longest = max(len(prompt) for prompt in prompts)
    rows = [[filling] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {
        "input_ids": torch.tensor(rows, device=model.device),
        "attention_mask": torch.tensor(mask, device=model.device),
    }


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
