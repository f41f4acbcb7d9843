"""What samplers share that draw one batch after another."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby

import torch

from rlhfkit.context import Context
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import BatchedConfig


class BatchedSampler(ABC):
    """Plain sampling at a temperature; a subclass draws a batch.

    After running out of memory, batches are smaller and the generator's numbers fall to other
    sequences: other samples of the same distribution.
    """

    equal_lengths = False
    """Whether only prompts of one length share a batch: for models that read padding."""

    def __init__(self, config: BatchedConfig, context: Context | None = None) -> None:
        self.temperature = config.temperature
        self.response_length = config.response_length
        self.batch_size = AdaptiveBatchSize("sampling", config.batch_size)

    @torch.no_grad()
    def sample(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        """Prompts of like length share a batch, so that little is padded."""
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        batches = [list(group) for _, group in groupby(order, lambda row: len(prompts[row]))]
        responses: list[Response | None] = [None] * len(prompts)
        state = generator.get_state()

        def of(rows: Sequence[int]) -> list[Response]:
            generator.set_state(state)
            batch = [prompts[row] for row in rows]
            return self._sample_batch(model, batch, ends, generator)

        for part in batches if self.equal_lengths else [order]:
            for rows, drawn in self.batch_size.map(part, of):
                state = generator.get_state()
                for row, response in zip(rows, drawn, strict=True):
                    responses[row] = response
        return [response for response in responses if response is not None]

    @abstractmethod
    def _sample_batch(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: torch.Generator,
    ) -> list[Response]:
        """A response to each prompt."""
