"""Talking to a run's policies, letting them answer a file, scoring a file."""

import json

import pytest
import torch

from rlhfkit.commands import chat as chat_command
from rlhfkit.commands.chat import chat
from rlhfkit.commands.conversation import Chat
from rlhfkit.commands.generate import generate
from rlhfkit.commands.jsonl_files import read_input, whole_rows
from rlhfkit.commands.run_words import expanded
from rlhfkit.commands.score import score
from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.data.text_format import load_text_format
from rlhfkit.errors import UserError
from rlhfkit.models.streaming import TokenStream
from rlhfkit.types import Ends

ASKED = [{"role": "user", "content": "what is red"}]


@pytest.fixture
def run(finished, make_context):
    """A run with a policy and a reward model; `run.context("generate.policy=rl")` of a command."""
    found = finished("lora")
    found.context = lambda *options: make_context(
        f"model.path={found.base}", "loader.lora_r=4", "sampler.response_length=6", *options
    )
    return found


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Listed:
    """Policies that say what they are told to."""

    def __init__(self, *answers):
        self._answers = iter(answers)
        self.prompts = []

    def answer(self, prompt, ends, temperature, most):
        self.prompts.append(list(prompt))
        drawn = []
        for token in next(self._answers):
            drawn.append(token)
            yield drawn


def conversation(run, tmp_path, **policies):
    text = load_text_format(run.context())
    return Chat(text, policies, tmp_path / "chat" / "rankings.jsonl", 1.0, 6)


RED, GREEN, EOS = 10, 11, 2  # of tiny.tokenizer


def test_a_vote_is_a_ranking_and_the_conversation_goes_on_with_it(run, tmp_path):
    sft, rl = Listed([RED, EOS], [RED]), Listed([GREEN], [RED])
    session = conversation(run, tmp_path, sft=sft, rl=rl)
    shown = []
    session.ask("what is red", lambda answers: shown.append(list(answers)))
    assert shown == [["red", ""], ["red", ""], ["red", "green"]]
    assert "sft is preferred" in session.vote("1")
    (row,) = whole_rows(session.votes)
    ranking = CONVERT["rankings"](row)  # as labeler=imported reads it
    assert (ranking.prompt, ranking.completions) == (ASKED, ["red", "green"])
    assert (ranking.ranks, ranking.finished, ranking.labeler) == ([1, 2], [True, False], "chat")
    session.ask("and blue", lambda _: None)
    said = [turn["content"] for turn in session.turns[-1].prompt]
    assert said == ["what is red", "red", "and blue"]
    assert sft.prompts[1] == rl.prompts[1]


def test_without_a_vote_the_last_policys_answer_stays(run, tmp_path):
    session = conversation(run, tmp_path, sft=Listed([RED], [RED]), rl=Listed([GREEN], [RED]))
    session.system = "be kind"
    session.ask("what is red", lambda _: None)
    session.ask("and blue", lambda _: None)
    said = [turn["content"] for turn in session.turns[-1].prompt]
    assert said == ["be kind", "what is red", "green", "and blue"]


@pytest.mark.parametrize(
    ("answers", "word", "says"),
    [
        (None, "1", "nobody has answered yet"),
        (([RED], [RED]), "1", "two answers that differ"),
        (([EOS], [RED]), "1", "the better one not empty"),
        (([GREEN], [RED]), "3", "vote 3: choices: 1, 2"),
    ],
)
def test_votes_that_say_nothing(run, tmp_path, answers, word, says):
    policies = {name: Listed(ids) for name, ids in zip("ab", answers or ([], []), strict=True)}
    session = conversation(run, tmp_path, **policies)
    if answers:
        session.ask("what is red", lambda _: None)
    with pytest.raises(UserError, match=says):
        session.vote(word)
    assert not session.votes.exists()


def test_ctrl_c_ends_one_answer(run, tmp_path):
    class Interrupted(Listed):
        def answer(self, *_):
            yield [RED]
            raise KeyboardInterrupt

    session = conversation(run, tmp_path, sft=Interrupted(), rl=Listed([GREEN, EOS]))
    turn = session.ask("what is red", lambda _: None)
    assert (turn.answers, turn.finished) == (["red", "green"], [False, True])


def test_whose_answer_was_cut_is_said(run, tmp_path, capsys):
    session = conversation(run, tmp_path, sft=Listed([RED]), rl=Listed([GREEN, EOS]))
    chat_command._answer(session, "what is red")
    assert "\nsft: stopped, or cut at 6 tokens (--max-tokens)\n" in capsys.readouterr().out
    session = conversation(run, tmp_path, rl=Listed([GREEN, EOS]))
    chat_command._answer(session, "what is red")
    said = capsys.readouterr().out
    assert "stopped" not in said
    assert "vote" not in said
    session = conversation(run, tmp_path, sft=Listed([GREEN, EOS]), rl=Listed([GREEN, EOS]))
    chat_command._answer(session, "what is red")
    assert "no two answers differ: there is nothing to vote on" in capsys.readouterr().out


def test_a_conversation_in_the_terminal(run, monkeypatch, capsys):
    typed = iter(["what is red", "/temperature x", "/temperature 0", "/vot", "/system", "/help"])

    def given(_):
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(chat_command.console, "input", given)
    chat(run.context("chat.policies=[base,rl]", "chat.max_tokens=3", "chat.temperature=0.5"))
    said = capsys.readouterr().out
    assert "1. base, 2. rl; temperature 0.5" in said
    assert "/temperature x: a number is wanted" in said
    assert "temperature 0\n" in said
    assert "/vot: no such command; did you mean '/vote'?" in said
    assert "system prompt: none; a new conversation" in said


def test_a_stream_draws_as_the_model_says(run):
    policy = run.roles.policy
    stream = TokenStream(policy)
    assert stream._cached
    greedy = [list(found) for found in stream.answer([5, 6, 7], Ends((2,)), 0.0, 5)]
    assert [len(found) for found in greedy] == list(range(1, len(greedy) + 1))
    stream._cached = False
    again = list(stream.answer([5, 6, 7], Ends((2,)), 0.0, 5))[-1]
    assert greedy[-1] == again
    ids = torch.tensor([[5, 6, 7]])
    first = policy.logits(policy.hidden_states(ids, None)[0, -1:]).argmax().item()
    assert greedy[0] == [first]
    end = Ends((greedy[-1][0],))
    assert list(stream.answer([5, 6, 7], end, 0.0, 5)) == [greedy[-1][:1]]


def test_answers_to_a_file_go_on_where_they_stopped(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rlhfkit.commands.generate.PROMPTS_AT_ONCE", 2)
    prompts = write(
        tmp_path / "p.jsonl",
        {"prompt": "what is red", "id": 7},
        {"messages": [{"role": "user", "content": "is it best"}]},
        {"prompt": ASKED},
    )
    options = (f"generate.prompts={prompts}", "generate.num_completions=2", "seed=5")
    generate(run.context(*options))
    written = tmp_path / "p.rl.jsonl"
    whole = written.read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["prompt"][-1]["content"] for row in rows[::2]] == [
        "what is red", "is it best", "what is red",
    ]  # fmt: skip
    assert (rows[0]["id"], rows[0]["policy"], len(rows)) == (7, "rl", 6)
    lines = whole.splitlines(keepends=True)
    written.write_text("".join(lines[:2]) + lines[2][:9])  # it was stopped in a line
    generate(run.context(*options))
    assert written.read_text() == whole
    assert "6 answers" in capsys.readouterr().out
    write(prompts, {"prompt": "another"})
    with pytest.raises(UserError, match=r"p.rl.jsonl: row 1 answers another prompt"):
        generate(run.context(*options))


def test_a_file_is_scored_as_the_reward_model_was_trained(run, tmp_path, capsys):
    file = write(
        tmp_path / "a.jsonl",
        {"prompt": "what is red", "completion": "I like it"},
        {"prompt": ASKED, "completions": ["I like it", "red and red"], "finished": [True, False]},
    )
    score(run.context(f"score.file={file}"))
    one, several = whole_rows(tmp_path / "a.scored.jsonl")
    text = load_text_format(run.context())
    model = run.roles.value
    ids = [text.completion_ids("I like it"), text.completion_ids("red and red", False)]
    batch = model.language_model.batch([text.prompt_ids(ASKED)] * 2, ids)
    expected = model.scores(batch).tolist()
    assert several["scores"] == pytest.approx(expected, abs=1e-4)
    assert one["score"] == pytest.approx(expected[0], abs=1e-4)
    assert "3 scores, mean" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"scored.jsonl: is there already"):
        score(run.context(f"score.file={file}"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"prompt": "a"}\n{"prompt\n', "p.jsonl:2: no JSON"),
        ("[1]\n", "p.jsonl:1: no row"),
        ("\n", "p.jsonl: has no rows"),
    ],
)
def test_files_that_are_no_rows(tmp_path, content, says):
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(UserError, match=says):
        read_input(tmp_path / "p.jsonl")
    (tmp_path / "p.txt").write_text("what is red\n\nis it\n")
    assert read_input(tmp_path / "p.txt") == [{"prompt": "what is red"}, {"prompt": "is it"}]


def test_rows_without_what_is_needed(run, tmp_path):
    file = write(tmp_path / "a.jsonl", {"prompt": "what is red"})
    with pytest.raises(UserError, match=r"a.jsonl: row 1: "):
        score(run.context(f"score.file={file}"))
    with pytest.raises(UserError, match=r"generate: say which prompts"):
        generate(run.context())
    with pytest.raises(UserError, match=r"score: say which answers"):
        score(run.context())


@pytest.mark.parametrize(
    ("command", "words", "found"),
    [
        ("generate", ["--prompts", "p.jsonl", "--num-completions=2"],
         ["generate.prompts=p.jsonl", "generate.num_completions=2"]),
        ("export", ["--push", "me/x", "--dry-run", "--merged"],
         ["export.push=me/x", "export.dry_run=true", "export.merged=true"]),
        ("run", ["--multirun", "seed=1,2"], ["--multirun", "seed=1,2"]),
    ],
)  # fmt: skip
def test_flags_of_these_commands_are_their_options(plugins, command, words, found):
    assert expanded(command, ["seed=1", *words], plugins) == ["seed=1", *found]


def test_a_flag_without_its_value(plugins):
    with pytest.raises(UserError, match=r"--prompts: what\? as in generate.prompts=..."):
        expanded("generate", ["seed=1", "--prompts"], plugins)
