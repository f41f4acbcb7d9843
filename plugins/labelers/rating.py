"""Answers that are rated alone by judges that are a model: what evaluator=ratings asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlhfkit.types import Messages
from rlhfkit_plugins.labelers.rating_prompt import RatingPrompt

Values = dict[str, float]
"""`overall` from 1 to 7, and of each flag that was asked about 1 where it is set, else 0."""


@dataclass(frozen=True)
class RatingQuestion:
    """How good one answer is."""

    judge: RatingPrompt
    prompt: Messages
    answer: str

    @property
    def messages(self) -> Messages:
        """As the model is asked."""
        return self.judge.messages(self.prompt, self.answer)

    @property
    def lines(self) -> int:
        """What is read of a reply."""
        return len(self.judge.lines)

    @property
    def reminder(self) -> str:
        """What is said where the reply cannot be read."""
        return self.judge.reminder

    def read(self, answer: str) -> Values | None:
        """The rating; None for a reply that lacks a line."""
        return self.judge.rating(answer)

    def continued(self, reply: str, place: int) -> list[str]:
        """The reply so far with each line that may come next, the one at `place`; the reply itself
        where it has all lines."""
        names = [*self.judge.lines][place : place + 1]
        more = [line for name in names for line in self.judge.replies(name)]
        return [f"{reply}\n{line}".lstrip() for line in more] or [reply]


class Rater(Protocol):
    """A labeler that can rate an answer alone."""

    name: str
    """The first part of its judges' names."""

    def rate(self, questions: Sequence[RatingQuestion]) -> Sequence[Values | None]:
        """A rating each; None where what the model said is none."""
