"""`rlhfkit chat RUN`: the run's policies side by side, in the terminal or with `--browser`
on a page; a vote is a ranking."""

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlhfkit.commands.conversation import Chat
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.data.text_format import load_text_format
from rlhfkit.errors import UserError, nearest
from rlhfkit.models.sampling import check_sampling
from rlhfkit.models.streaming import TokenStream
from rlhfkit.stages.sample import load_policy
from rlhfkit.storage.catalogue import VOTES_FILE
from rlhfkit.web import require_packages

HELP = """\
/vote N            the Nth answer is the best: a row of rankings in {votes}
/system TEXT       another system prompt, in a new conversation; without text none
/temperature X     0 takes the likeliest tokens
/clear             a new conversation
/quit              leave; Ctrl-C while an answer is written ends that answer"""


def chat(context: Context) -> None:
    """Load the policies, then ask and answer until the user leaves."""
    if not context.config.chat.browser:
        _in_terminal(_conversation(context))
        return
    require_packages("chat --browser")
    from rlhfkit.commands.chat_page import listening_page

    with listening_page(context.config.chat.port) as serve:  # a port that is taken is told at once
        serve(_conversation(context), context.run_dir.root.resolve().name)


def _conversation(context: Context) -> Chat:
    """With the policies loaded."""
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
    return Chat(
        text,
        policies,
        context.run_dir.root / VOTES_FILE,
        getattr(sampler, "temperature", 1.0) if given is None else given,
        options.max_tokens or int(getattr(sampler, "response_length", 256)),
        options.system,
    )


def _in_terminal(session: Chat) -> None:
    shown = ", ".join(f"{place}. {name}" for place, name in enumerate(session.policies, 1))
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
        session.set_system(rest)
        return f"system prompt: {rest or 'none'}; a new conversation"
    if word == "/temperature":
        session.set_temperature(_number(rest))
        return f"temperature {session.temperature:g}"
    if word == "/help":
        return HELP.format(votes=session.votes)
    known = ("/vote", "/clear", "/system", "/temperature", "/help", "/quit")
    raise UserError(f"{word}: no such command; {nearest(word, known)}")


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise UserError(f"/temperature {word}: a number is wanted, as in 0.7") from error


def _answer(session: Chat, question: str) -> None:
    if not console.is_terminal:
        turn = session.ask(question, lambda _: None)
        console.print(_side_by_side(session, turn.answers))
    else:
        with Live(console=console, refresh_per_second=12, vertical_overflow="visible") as live:
            turn = session.ask(
                question, lambda answers: live.update(_side_by_side(session, answers))
            )
    unfinished = [
        name for name, whole in zip(session.policies, turn.finished, strict=True) if not whole
    ]
    if unfinished:
        names = ", ".join(unfinished)
        said = f"{names}: stopped, or cut at {session.most} tokens (--max-tokens)"
        console.print(said, style="dim", markup=False, highlight=False)
    if len(turn.answers) > 1 and not any(turn.votable):
        console.print("no two answers differ: there is nothing to vote on", style="dim")


def _side_by_side(session: Chat, answers: list[str]) -> Group:
    table = Table.grid(padding=(0, 2), expand=True)
    for _ in answers:
        table.add_column(ratio=1)
    heads = [f"{place}. {name}" for place, name in enumerate(session.policies, 1)]
    table.add_row(*(Text(head, style="bold") for head in heads))
    table.add_row(*(Text(answer) for answer in answers))
    return Group(table, Text(""))
