"""sampler=generate: transformers' own decoding; slower, kept as the independent reference and for
models whose caches the other sampler does not know."""

from collections.abc import Sequence

import torch

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Response
from rlhfkit_plugins.samplers.batched import BatchedSampler
from rlhfkit_plugins.samplers.plain_sampling import plain_sampling


class GenerateSampler(BatchedSampler):
    """`model.generate`, then the log-probabilities by one teacher-forced pass."""

    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        eos_token_id: int,
        generator: torch.Generator,
    ) -> list[Response]:
        longest = max(len(prompt) for prompt in prompts)
        rows = [[eos_token_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        model.activate()
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        settings = (self.response_length, self.temperature, eos_token_id)
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
            )
        ids = [_until_eos(row, eos_token_id) for row in output[:, longest:].tolist()]
        logprobs, _ = model.response_logprobs(model.batch(prompts, ids), self.temperature)
        return [
            Response.from_ids(row, values[: len(row)], eos_token_id)
            for row, values in zip(ids, logprobs.tolist(), strict=True)
        ]


def _until_eos(ids: list[int], eos_token_id: int) -> list[int]:
    return ids[: ids.index(eos_token_id) + 1] if eos_token_id in ids else ids
