"""A conversation with several policies, in the terminal or in the browser.

It has one history, so that answers are to the same prompt: it goes on with the answer that was
voted for, else with the last policy's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rlhfkit.commands.jsonl_files import append_rows
from rlhfkit.data.text_format import TextFormat
from rlhfkit.errors import UserError, nearest
from rlhfkit.models.streaming import TokenStream
from rlhfkit.types import Messages


class AnswerStopped(Exception):
    """Enough of an answer."""


@dataclass
class Turn:
    """One question and everybody's answer."""

    prompt: Messages
    answers: list[str]
    finished: list[bool]
    voted: int | None = None

    @property
    def votable(self) -> list[bool]:
        """Which answers may be called the best: those with words in them, where another has other
        words."""
        several = len({answer for answer in self.answers if answer}) > 1
        return [several and answer != "" for answer in self.answers]


@dataclass
class Chat:
    """A conversation with several policies."""

    text: TextFormat
    policies: dict[str, TokenStream]
    votes: Path
    temperature: float
    most: int
    system: str | None = None
    turns: list[Turn] = field(default_factory=list)

    def ask(self, question: str, show: Callable[[list[str]], None]) -> Turn:
        """Let everybody answer; `show` is given the answers so far. Ctrl-C, or an
        `AnswerStopped` of `show`, ends the one that is being written."""
        prompt = [*self._history(), {"role": "user", "content": question}]
        ids = self.text.prompt_ids(prompt)
        turn = Turn(prompt, ["" for _ in self.policies], [False for _ in self.policies])
        for place, stream in enumerate(self.policies.values()):
            drawn: list[int] = []
            try:
                for drawn in stream.answer(ids, self.text.ends, self.temperature, self.most):
                    turn.answers[place] = self.text.decode(drawn)
                    show(turn.answers)
            except (KeyboardInterrupt, AnswerStopped):
                continue
            turn.finished[place] = bool(drawn) and self.text.ends.ended(drawn)
        self.turns.append(turn)
        return turn

    def vote(self, word: str) -> str:
        """Keep that an answer of the last turn is the best; gives a line that says so."""
        numbers = [str(number + 1) for number in range(len(self.policies))]
        if not self.turns:
            raise UserError("vote: nobody has answered yet")
        turn = self.turns[-1]
        if turn.voted is not None:
            raise UserError("vote: these answers have a vote; ask something else")
        if word not in numbers:
            raise UserError(f"vote {word}: {nearest(word, numbers)}")
        best = int(word) - 1
        usable = [place for place, votable in enumerate(turn.votable) if votable]
        if best not in usable:
            raise UserError("vote: two answers that differ, the better one not empty, are needed")
        row = {
            "prompt": turn.prompt,
            "completions": [turn.answers[place] for place in usable],
            # an answer that reads the same is as good
            "ranks": [1 if turn.answers[place] == turn.answers[best] else 2 for place in usable],
            "finished": [turn.finished[place] for place in usable],
            "labeler": "chat",
            "sources": [list(self.policies)[place] for place in usable],
        }
        append_rows(self.votes, [row])
        turn.voted = best
        return f"{list(self.policies)[best]} is preferred: a ranking in {self.votes}"

    def clear(self) -> None:
        """Begin anew."""
        self.turns = []

    def set_system(self, prompt: str) -> None:
        """Another system prompt, or none for an empty one, in a new conversation."""
        self.clear()
        self.system = prompt or None

    def set_temperature(self, value: float) -> None:
        """Of the answers from now on; `UserError` for what is none."""
        if not 0 <= value < float("inf"):
            raise UserError(f"temperature {value}: must be a finite number, not negative")
        self.temperature = value

    def _history(self) -> Messages:
        if self.turns:
            turn = self.turns[-1]
            answer = turn.answers[-1 if turn.voted is None else turn.voted]
            return [*turn.prompt, {"role": "assistant", "content": answer}]
        return [{"role": "system", "content": self.system}] if self.system else []
