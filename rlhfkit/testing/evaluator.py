"""What the core relies on in an evaluator."""

import json
from abc import ABC, abstractmethod

from rlhfkit.protocols import Evaluator
from rlhfkit.testing.texts import PROMPTS
from rlhfkit.types import Evaluation, Metric, PolicySamples, Response


class EvaluatorContract(ABC):
    """What the core relies on in an `Evaluator`."""

    @abstractmethod
    def make(self) -> Evaluator:
        """An evaluator that needs the policies' texts alone."""

    def samples(self) -> dict[str, PolicySamples]:
        """What it is asked about: two answers of two policies to each of two prompts."""
        texts = {
            "sft": ["An apple.", "A plum.", "Hi!", "Hello."],
            "rl": ["A pear.", "Yes.", "Hello, my friend!", "No."],
        }
        return {policy: _samples(policy, answers) for policy, answers in texts.items()}

    def test_intervals_hold_their_values_and_json_knows_the_rows(self) -> None:
        found = self.make().evaluate(self.samples())
        assert isinstance(found, Evaluation)
        assert found.metrics
        for numbers in found.metrics.values():
            assert all(isinstance(metric, Metric) for metric in numbers.values())
            assert all(item.low <= item.value <= item.high for item in numbers.values())
        json.dumps(list(found.rows), allow_nan=False)


def _samples(policy: str, texts: list[str]) -> PolicySamples:
    prompts = [prompt for prompt in PROMPTS for _ in range(2)]
    responses = [Response([1, 2], [-1.0, -1.0], ended=True) for _ in texts]
    return PolicySamples(policy, prompts, texts, responses, [[1]] * 4, reference_kl=[0.0] * 4)
