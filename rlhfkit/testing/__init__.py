"""Contract suites: subclass one in your plugin's tests, give it your component, run pytest.

    from rlhfkit.testing import KLControllerContract

    class TestLinearKL(KLControllerContract):
        def make(self):
            return LinearKL(LinearConfig(), context=None)

Data sources, rewards, KL controllers, labelers and evaluators have one; what a contract asks is
what the core relies on.
"""

import json
from abc import ABC, abstractmethod

import pytest

from rlhfkit.protocols import DataSource, Evaluator, KLController, Labeler, RewardFunction
from rlhfkit.types import SPLITS, Evaluation, Messages, Metric, PolicySamples, Response

PROMPTS: list[Messages] = [
    [{"role": "user", "content": "Name a fruit."}],
    [{"role": "user", "content": "Say hello to a friend."}],
]


class DataSourceContract(ABC):
    """What the core relies on in a `DataSource`."""

    @abstractmethod
    def make(self) -> DataSource:
        """A source with at least one split."""

    def test_offers_known_splits_with_rows(self) -> None:
        source = self.make()
        assert source.splits()
        for split in source.splits():
            assert split in SPLITS
            assert len(source.load(split)) > 0

    def test_fingerprint_is_stable(self) -> None:
        source, again = self.make(), self.make()
        for split in source.splits():
            assert source.fingerprint(split) == again.fingerprint(split)


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


class KLControllerContract(ABC):
    """What the core relies on in a `KLController`."""

    @abstractmethod
    def make(self) -> KLController:
        """A controller in its first state."""

    def test_coefficient_is_never_negative(self) -> None:
        controller = self.make()
        for kl in (0.0, 1.0, 100.0, -1.0):
            assert controller.coef >= 0
            controller.update(kl, 8)

    def test_state_is_taken_up(self) -> None:
        controller = self.make()
        for _ in range(3):
            controller.update(50.0, 64)
        resumed = self.make()
        resumed.load_state_dict(controller.state_dict())
        assert resumed.coef == controller.coef
        resumed.update(3.0, 64)
        controller.update(3.0, 64)
        assert resumed.coef == controller.coef


class LabelerContract(ABC):
    """What the core relies on in a `Labeler`."""

    COMPLETIONS = (["An apple.", "I", ""], ["Hello, my friend!", "Hello hello hello hello", "No."])

    @abstractmethod
    def make(self) -> Labeler:
        """A labeler that can judge any text."""

    def test_one_rank_per_completion(self) -> None:
        for pool, texts in zip(
            self.make().rank(PROMPTS, self.COMPLETIONS), self.COMPLETIONS, strict=True
        ):
            assert pool
            for judgement in pool:
                assert len(judgement.ranks) == len(texts)
                assert min(judgement.ranks) == 1
                assert judgement.labeler

    def test_same_question_same_answer(self) -> None:
        assert self.make().rank(PROMPTS, self.COMPLETIONS) == self.make().rank(
            PROMPTS, self.COMPLETIONS
        )

    def test_order_of_the_prompts_does_not_matter(self) -> None:
        labeler = self.make()
        forward = labeler.rank(PROMPTS, self.COMPLETIONS)
        backward = labeler.rank(PROMPTS[::-1], self.COMPLETIONS[::-1])
        assert forward == backward[::-1]


class EvaluatorContract(ABC):
    """What the core relies on in an `Evaluator`."""

    @abstractmethod
    def make(self) -> Evaluator:
        """An evaluator that needs the policies' texts alone."""

    def test_metrics_of_known_policies_and_rows_that_json_knows(self) -> None:
        texts = {"sft": ["An apple.", "Hi!"], "rl": ["A pear.", "Hello, my friend!"]}
        found = self.make().evaluate({name: _samples(name, texts[name]) for name in texts})
        assert isinstance(found, Evaluation)
        for numbers in found.metrics.values():
            assert all(isinstance(metric, Metric) for metric in numbers.values())
            assert all(item.low <= item.value <= item.high for item in numbers.values())
        json.dumps(list(found.rows))


def _samples(policy: str, texts: list[str]) -> PolicySamples:
    responses = [Response([1, 2], [-1.0, -1.0], finished=True) for _ in texts]
    return PolicySamples(policy, PROMPTS, texts, responses, [[1], [1]], reference_kl=[0.0, 0.0])
