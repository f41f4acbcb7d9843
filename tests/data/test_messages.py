"""Rows as messages: nothing that a template reads is lost, and histories are kept or dropped."""

import pytest

from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT


def user(text):
    return {"role": "user", "content": text}


def answer(text, **more):
    return {"role": "assistant", "content": text, **more}


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def test_messages_are_whole():
    result = {"role": "tool", "tool_call_id": "c", "name": "f", "content": "12"}
    turns = [user("q"), {"role": "assistant", "content": None, "tool_calls": [CALL]}, result]
    item = CONVERT["prompts"]({"prompt": turns, "tools": TOOLS})
    assert item == [{**user("q"), "tools": TOOLS}, answer("", tool_calls=[CALL]), result]


def test_an_answer_may_be_more_than_text():
    row = {"messages": [user("q"), answer("", tool_calls=[CALL])]}
    item = CONVERT["demonstrations"](row)
    assert (item.completion, item.answer) == ("", answer("", tool_calls=[CALL]))
    reasoned = CONVERT["demonstrations"]({"messages": [user("q"), answer("a", reasoning="r")]})
    assert (reasoned.completion, reasoned.answer) == ("a", answer("a", reasoning="r"))
    plain = CONVERT["demonstrations"]({"messages": [user("q"), answer("a", weight=1)]})
    assert (plain.completion, plain.answer) == ("a", None)


def test_what_columns_fill_up_is_no_part_of_a_message():
    turn = {**user("q"), "name": None, "tool_calls": [], "thinking": ""}
    assert CONVERT["prompts"]({"prompt": [turn], "tools": None}) == [user("q")]


def test_tools_may_be_text():
    row = {"prompt": "q", "tools": '[{"a": 1}]', "chat_template_kwargs": {"thinking": False}}
    expected = {"tools": [{"a": 1}], "chat_template_kwargs": {"thinking": False}}
    assert CONVERT["prompts"](row) == [user("q") | expected]


HISTORY = [user("q"), answer("one"), user("more")]


@pytest.mark.parametrize(
    ("prompt", "good", "bad"),
    [
        ("q", [*HISTORY, answer("x")], [*HISTORY, answer("y")]),  # whole, as UltraFeedback's
        ([user("q")], [*HISTORY[1:], answer("x")], [*HISTORY[1:], answer("y")]),  # TRL's
        (HISTORY, [answer("x")], answer("y")),
        (HISTORY, "x", "y"),
        ([*HISTORY[:2], user("more")], [user("more"), answer("x")], None),
    ],
)
def test_a_pair_keeps_its_history(prompt, good, bad):
    row = {"prompt": prompt, "chosen": good, "rejected": bad}
    if bad is None:
        with pytest.raises(Unusable, match="does not begin with the prompt"):
            CONVERT["rankings"](row | {"rejected": good})
        return
    item = CONVERT["rankings"](row)
    assert (item.prompt, item.completions) == (HISTORY, ["x", "y"])


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ([answer("a"), user("thanks")], [answer("b"), user("no")], "does not end with the"),
        ([user("other"), answer("a")], [user("other"), answer("b")], "does not begin with the"),
        ([answer("a"), user("b"), answer("c")], [answer("x"), user("b"), answer("d")], "differ"),
        ([answer("", tool_calls=[CALL])], [answer("b")], "has tool calls or reasoning"),
    ],
)
def test_conversations_that_make_no_pair(good, bad, says):
    with pytest.raises(Unusable, match=says):
        CONVERT["rankings"]({"prompt": "q", "chosen": good, "rejected": bad})


def test_a_completion_keeps_its_history():
    item = CONVERT["demonstrations"]({"prompt": "q", "completion": [*HISTORY[1:], answer("two")]})
    assert (item.prompt, item.completion) == (HISTORY, "two")


def test_a_system_message_of_either_side_stays():
    system = {"role": "system", "content": "s"}
    for prompt, told in (([system, user("q")], [user("q")]), ("q", [system, user("q")])):
        row = {"prompt": prompt, "completion": [*told, answer("a")]}
        assert CONVERT["demonstrations"](row).prompt == [system, user("q")]


def test_indentation_stays_and_tells_answers_apart():
    row = {"prompt": "def f():\n", "chosen": "    return 1\n", "rejected": "return 1"}
    item = CONVERT["rankings"](row)
    assert item.prompt == [user("def f():\n")]
    assert item.completions == ["    return 1", "return 1"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a\ud83d", "completion": "b"},
        {"prompt": "a", "completion": "b\ud83d"},
        {"prompt": "a", "completion": "b", "user": "\ud83d"},
        {"messages": [user("a"), answer("b", reasoning_content="\ud83d")]},
    ],
)
def test_half_a_surrogate_is_no_text(row):
    with pytest.raises(Unusable, match="half a surrogate pair"):
        CONVERT["demonstrations"](row)


def test_an_answer_that_is_labelled_as_bad_is_no_demonstration():
    with pytest.raises(Unusable, match="labelled as bad"):
        CONVERT["demonstrations"]({"prompt": "a", "completion": "b", "label": False})
