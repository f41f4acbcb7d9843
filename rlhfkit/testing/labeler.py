"""What the core relies on in a labeler."""

from abc import ABC, abstractmethod

from rlhfkit.protocols import Labeler
from rlhfkit.testing.texts import PROMPTS


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
