"""What the core relies on in a reward function."""

from abc import ABC, abstractmethod

import pytest

from rlhfkit.protocols import RewardFunction
from rlhfkit.testing.texts import PROMPTS


class RewardFunctionContract(ABC):
    """What the core relies on in a `RewardFunction`."""

    @abstractmethod
    def make(self) -> RewardFunction:
        """A reward function that needs texts alone."""

    def test_one_finite_number_each(self) -> None:
        scores = self.make()(PROMPTS, ["An apple.", "Hello, my friend!"], finished=[True, True])
        assert len(scores) == 2
        assert all(abs(float(score)) < float("inf") for score in scores)

    def test_order_of_the_batch_does_not_matter(self) -> None:
        reward = self.make()
        texts = ["An apple.", "Hello, my friend!"]
        forward = reward(PROMPTS, texts, finished=[True, True])
        backward = reward(PROMPTS[::-1], texts[::-1], finished=[True, True])
        assert forward == pytest.approx(backward[::-1])
