"""sampler=generate: transformers' own decoding; slower, kept as the independent reference and for
models whose caches the other sampler does not know."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.probing import follows, kind_of, name_of, say_once
from rlhfkit.types import Response
from rlhfkit_plugins.samplers.batched import BatchedSampler
from rlhfkit_plugins.samplers.plain_sampling import plain_sampling


class GenerateSampler(BatchedSampler):
    """`model.generate`, then the log-probabilities by one teacher-forced pass."""

    use_cache = True
    """False for a model whose own cache forgets what it was given."""

    def check(self, model: LanguageModel) -> None:
        """Find the fastest way in which `generate` follows the model; `UserError` for none."""
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

    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        eos_token_id: int,
        generator: torch.Generator,
    ) -> list[Response]:
        longest = max(len(prompt) for prompt in prompts)
        model.activate()
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        settings = (self.response_length, self.temperature, eos_token_id, self.use_cache)
        with (
            torch.random.fork_rng(),
            model.autocast(),
            plain_sampling(model.base, *settings) as plain,
        ):
            torch.manual_seed(seed)
            output = model.base.generate(
                **_padded(model, prompts, eos_token_id), generation_config=plain
            )
        ids = [_until_eos(row, eos_token_id) for row in output[:, longest:].tolist()]
        logprobs, _ = model.response_logprobs(model.batch(prompts, ids), self.temperature)
        return [
            Response.from_ids(row, values[: len(row)], eos_token_id)
            for row, values in zip(ids, logprobs.tolist(), strict=True)
        ]

    def _greedy(
        self, model: LanguageModel, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[int], Tensor]]:
        """The likeliest tokens after each prompt, and [T, V] the logits that they come from."""
        if self.equal_lengths and len(prompts) > 1:
            return [found for prompt in prompts for found in self._greedy(model, [prompt])]
        model.activate()
        with model.autocast(), plain_sampling(model.base, 3, 1.0, 0, self.use_cache) as plain:
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


def _until_eos(ids: list[int], eos_token_id: int) -> list[int]:
    return ids[: ids.index(eos_token_id) + 1] if eos_token_id in ids else ids
