"""Judges that compare two completions at a time, as labelers that rank K: a judge is a model asked
by one prompt.

1. every two completions are compared twice, once in each order; a judge that contradicts itself
ties them (Zheng et al. 2023)  2. a share of the preferences is turned round (AlpacaFarm, Dubois et
al. 2023)  3. a completion's points are its wins and half its ties (Copeland), and give its rank.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from rlhfkit.types import Judgement, Messages
from rlhfkit_plugins.labelers import JudgePoolOptions
from rlhfkit_plugins.labelers.judge_prompt import JudgePrompt, load_prompts
from rlhfkit_plugins.labelers.ranking import ranks_of


@dataclass(frozen=True)
class Question:
    """Which of two completions is better."""

    judge: JudgePrompt
    prompt: Messages
    first: str
    second: str

    lines: ClassVar[int] = 1
    """What is read of an answer."""

    @property
    def messages(self) -> Messages:
        """As the model is asked."""
        return self.judge.messages(self.prompt, self.first, self.second)

    @property
    def reminder(self) -> str:
        """What is said where the answer cannot be read."""
        return self.judge.reminder

    def read(self, answer: str) -> int | None:
        """1 where the first is better, -1 where the second is, 0 for a tie; None for an answer
        without a verdict."""
        return self.judge.outcome(answer)


Answers = Callable[[Sequence[Question]], Sequence[int]]
"""For each question its outcome."""


class JudgePool:
    """A model with one prompt or several."""

    def __init__(self, options: JudgePoolOptions, seed: int, model: str, answers: Answers) -> None:
        """model: the first part of the judges' names. answers: asks the model."""
        self._options, self._seed, self._model, self._answers = options, seed, model, answers
        self._judges = load_prompts("labeler.prompts", options.prompts)
        self.compared = 0
        """Pairs that a judge was asked about, in both orders."""

        self.consistent = 0
        """Pairs of them with the same answer in both orders."""

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """For every prompt a judgement by each judge who is asked about it."""
        asked = [
            [(judge, [*_pairs(texts)]) for judge in self._chosen(prompt)]
            for prompt, texts in zip(prompts, completions, strict=True)
        ]
        questions = [
            Question(judge, prompt, *order)
            for prompt, judged in zip(prompts, asked, strict=True)
            for judge, pairs in judged
            for pair in pairs
            for order in (pair, pair[::-1])
        ]
        answers = iter(self._answers(questions) if questions else ())
        return [
            [
                self._judgement(judge, prompt, texts, {pair: self._both(answers) for pair in pairs})
                for judge, pairs in judged
            ]
            for prompt, texts, judged in zip(prompts, completions, asked, strict=True)
        ]

    def _chosen(self, prompt: Messages) -> list[JudgePrompt]:
        """The pool, or some of it that changes with the prompt."""
        count = self._options.judges_per_prompt
        if count is None:
            return self._judges
        drawn = sorted(self._judges, key=lambda judge: _uniform(self._seed, judge.name, prompt))
        return drawn[:count]

    def _both(self, answers: Iterator[int]) -> int:
        """The two orders' answers as one."""
        forward, backward = next(answers), -next(answers)
        self.compared += 1
        self.consistent += forward == backward
        return forward if forward == backward else 0

    def _judgement(
        self,
        judge: JudgePrompt,
        prompt: Messages,
        texts: Sequence[str],
        outcomes: dict[tuple[str, str], int],
    ) -> Judgement:
        points = dict.fromkeys(texts, 0.0)
        for (one, other), outcome in outcomes.items():
            turned = _uniform(self._seed, judge.name, prompt, one, other) < self._options.flip_rate
            better = -outcome if turned else outcome
            points[one] += (1 + better) / 2
            points[other] += (1 - better) / 2
        ranks = ranks_of([points[text] for text in texts])
        return Judgement(ranks, f"{self._model}:{judge.name}")


def _pairs(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every two different texts, whatever the order they come in."""
    return combinations(sorted(set(texts)), 2)


def _uniform(*key: object) -> float:
    """From 0 to 1, by the key alone."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big") / 2**48
