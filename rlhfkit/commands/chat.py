"""`rlhfkit chat RUN`: the run's policies side by side, and a vote that is a ranking.

A conversation has one history, so that answers are to the same prompt: it goes on with the answer
that was voted for, else with the last policy's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlhfkit.commands.jsonl_files import append_rows
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.errors import UserError, nearest
from rlhfkit.models.sampling import check_sampling
from rlhfkit.models.streaming import TokenStream
from rlhfkit.stages.sample import load_policy
from rlhfkit.storage.catalogue import VOTES_FILE
from rlhfkit.types import Messages

HELP = """\
/vote N            the Nth answer is the best: a row of rankings in {votes}
/system TEXT       another system prompt, in a new conversation; without text none
/temperature X     0 takes the likeliest tokens
/clear             a new conversation
/quit              leave; Ctrl-C while an answer is written ends that answer"""


@dataclass
class Turn:
    """One question and everybody's answer."""

    prompt: Messages
    answers: list[str]
    finished: list[bool]
    voted: int | None = None


@dataclass
class Chat:
    """A conversation with several policies."""

    context: Context
    text: TextFormat
    policies: dict[str, TokenStream]
    votes: Path
    temperature: float
    most: int
    system: str | None = None
    turns: list[Turn] = field(default_factory=list)

    def ask(self, question: str, show: Callable[[list[str]], None]) -> Turn:
        """Let everybody answer; `show` is given the answers so far. Ctrl-C ends the one that is
        being written."""
        prompt = [*self._history(), {"role": "user", "content": question}]
        ids = self.text.prompt_ids(prompt)
        turn = Turn(prompt, ["" for _ in self.policies], [False for _ in self.policies])
        for place, stream in enumerate(self.policies.values()):
            drawn: list[int] = []
            try:
                for drawn in stream.answer(ids, self.text.ends, self.temperature, self.most):
                    turn.answers[place] = self.text.decode(drawn)
                    show(turn.answers)
            except KeyboardInterrupt:
                continue
            turn.finished[place] = bool(drawn) and self.text.ends.ended(drawn)
        self.turns.append(turn)
        return turn

    def vote(self, word: str) -> str:
        """Keep that an answer of the last turn is the best; gives a line that says so."""
        numbers = [str(number + 1) for number in range(len(self.policies))]
        if not self.turns:
            raise UserError("/vote: nobody has answered yet")
        turn = self.turns[-1]
        if turn.voted is not None:
            raise UserError("/vote: these answers have a vote; ask something else")
        if word not in numbers:
            raise UserError(f"/vote {word}: {nearest(word, numbers)}")
        best = int(word) - 1
        usable = [place for place, answer in enumerate(turn.answers) if answer]
        if best not in usable or len({turn.answers[place] for place in usable}) < 2:
            raise UserError("/vote: two answers that differ, the better one not empty, are needed")
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

    def _history(self) -> Messages:
        if self.turns:
            turn = self.turns[-1]
            answer = turn.answers[-1 if turn.voted is None else turn.voted]
            return [*turn.prompt, {"role": "assistant", "content": answer}]
        return [{"role": "system", "content": self.system}] if self.system else []


def chat(context: Context) -> None:
    """Load the policies, then ask and answer until the user leaves."""
    options, sampler = context.config.chat, context.config.sampler
    names = options.policies or _all_policies(context)
    text = load_text_format(context)
    policies = {}
    for name in names:
        with console.status(f"loading {name}"):
            model = load_policy(context, name)
            check_sampling(context, model)
            policies[name] = TokenStream(model)
    given = options.temperature
    session = Chat(
        context,
        text,
        policies,
        context.run_dir.root / VOTES_FILE,
        getattr(sampler, "temperature", 1.0) if given is None else given,
        options.max_tokens or int(getattr(sampler, "response_length", 256)),
        options.system,
    )
    shown = ", ".join(f"{place}. {name}" for place, name in enumerate(names, 1))
    console.print(f"{shown}; temperature {session.temperature:g}; /help, /quit", markup=False)
    while _turn(session):
        pass


def _all_policies(context: Context) -> list[str]:
    """The base model, and what of SFT and RL is finished."""
    stages = ("rl_sft" if context.model_of("rl_sft") else "sft", "rl")
    return ["base", *(name for name in stages if context.model_of(name))]


def _turn(session: Chat) -> bool:
    """One line of the user's; False when there is no other."""
    try:
        line = console.input("[bold]you> [/bold]").strip()
    except (EOFError, KeyboardInterrupt):
        console.print()
        return False
    if line in ("/quit", "/exit", "/q"):
        return False
    try:
        if line.startswith("/"):
            console.print(_command(session, line), markup=False, soft_wrap=True)
        elif line:
            _answer(session, line)
    except UserError as error:
        console.print(str(error), markup=False, soft_wrap=True, style="yellow")
    return True


def _command(session: Chat, line: str) -> str:
    word, _, rest = line.partition(" ")
    rest = rest.strip()
    if word == "/vote":
        return session.vote(rest)
    if word == "/clear":
        session.clear()
        return "a new conversation"
    if word == "/system":
        session.clear()
        session.system = rest or None
        return f"system prompt: {rest or 'none'}; a new conversation"
    if word == "/temperature":
        session.temperature = _temperature(rest)
        return f"temperature {session.temperature:g}"
    if word == "/help":
        return HELP.format(votes=session.votes)
    known = ("/vote", "/clear", "/system", "/temperature", "/help", "/quit")
    raise UserError(f"{word}: no such command; {nearest(word, known)}")


def _temperature(word: str) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise UserError(f"/temperature {word}: a number is wanted, as in 0.7") from error
    if not 0 <= value < float("inf"):
        raise UserError(f"/temperature {word}: must be a finite number, not negative")
    return value


def _answer(session: Chat, question: str) -> None:
    if not console.is_terminal:
        turn = session.ask(question, lambda _: None)
        console.print(_side_by_side(session, turn.answers))
        return
    with Live(console=console, refresh_per_second=12, vertical_overflow="visible") as live:
        session.ask(question, lambda answers: live.update(_side_by_side(session, answers)))


def _side_by_side(session: Chat, answers: list[str]) -> Group:
    table = Table.grid(padding=(0, 2), expand=True)
    for _ in answers:
        table.add_column(ratio=1)
    heads = [f"{place}. {name}" for place, name in enumerate(session.policies, 1)]
    table.add_row(*(Text(head, style="bold") for head in heads))
    table.add_row(*(Text(answer) for answer in answers))
    return Group(table, Text(""))
