"""The prompts of one batch of episodes after the other."""

import random
from collections.abc import Sequence

from rlhfkit.storage.state_file import State
from rlhfkit.types import Messages


class PromptBatches:
    """Batches of prompts, each repeated for its completions; reshuffled every pass."""

    def __init__(
        self, prompts: Sequence[Messages], size: int, completions: int, generator: random.Random
    ) -> None:
        """size: episodes of a batch. completions: episodes of a prompt."""
        self._prompts, self._completions = prompts, completions
        self._wanted = size // completions
        self._random = generator
        self._waiting: list[int] = []

    def draw(self) -> list[Messages]:
        """The next batch."""
        everything = range(len(self._prompts))
        while len(self._waiting) < self._wanted:
            self._waiting += self._random.sample(everything, len(everything))
        batch, self._waiting = self._waiting[: self._wanted], self._waiting[self._wanted :]
        return [self._prompts[index] for index in batch for _ in range(self._completions)]

    def state_dict(self) -> State:
        """What is left of this pass; the generator is its owner's."""
        return {"waiting": self._waiting}

    def load_state_dict(self, state: State) -> None:
        """Go on with what was left."""
        self._waiting = state["waiting"]
