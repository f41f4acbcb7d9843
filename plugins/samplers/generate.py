"""sampler=generate: transformers' own decoding; slower, kept as the independent reference and for
models whose caches the other sampler does not know."""

from collections.abc import Sequence

import torch

from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Response
from rlhfkit_plugins.samplers.batched import BatchedSampler


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
        with torch.random.fork_rng(), model.autocast():
            torch.manual_seed(seed)
            output = model.model.generate(
                input_ids=torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=self.response_length,
                do_sample=True,
                temperature=self.temperature,
                top_k=0,
                top_p=1.0,
                eos_token_id=eos_token_id,
                pad_token_id=eos_token_id,
            )
        ids = [_until_eos(row, eos_token_id) for row in output[:, longest:].tolist()]
        batch = make_batch(prompts, ids, model.device)
        logprobs, _ = model.response_logprobs(batch, self.temperature)
        return [
            Response(row, values[: len(row)], finished=row[-1] == eos_token_id)
            for row, values in zip(ids, logprobs.tolist(), strict=True)
        ]


def _until_eos(ids: list[int], eos_token_id: int) -> list[int]:
    return ids[: ids.index(eos_token_id) + 1] if eos_token_id in ids else ids
