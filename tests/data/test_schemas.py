"""rlhfkit.data.schemas: a small file in each published form, and what is read of it."""

import pytest

from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.data.schemas import schema_of
from rlhfkit.errors import UserError
from rlhfkit.types import Demonstration

USER = {"role": "user", "content": "Q"}
ANSWER = {"role": "assistant", "content": "good"}
SYSTEM = {"role": "system", "content": "S"}
EARLIER = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]
GOOD = [{"role": "user", "content": "Q"}, ANSWER]
BAD = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "bad"}]
HH = "\n\nHuman: Q\n\nAssistant:"


def read(split, *rows):
    """The items of a file of these rows."""
    schema = schema_of("files", split, list(dict.fromkeys(key for row in rows for key in row)))
    gathered = schema.gather(rows) if schema.gather else rows
    return [CONVERT[split](schema(row)) for row in gathered]


ALPACA = {"instruction": "Q", "input": "about", "output": "good", "text": "### Instruction"}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "good"}],
    "system": "S",
}
SHP = {"history": "Q", "human_ref_A": "bad", "human_ref_B": "good", "labels": 0, "score_A": 3}
NECTAR = {
    "prompt": "\n\nHuman: Q\n\nAssistant: ",
    "answers": [
        {"answer": "bad", "model": "m", "rank": 2.0},
        {"answer": "good", "model": "n", "rank": 1.0},
    ],
    "source": ["anthropic-hh"],
}
ULTRAFEEDBACK = {
    "source": "evol_instruct",
    "instruction": "Q",
    "models": ["m", "n"],
    "completions": [
        {"model": "m", "response": "bad", "overall_score": 4.0, "annotations": {}},
        {"model": "n", "response": "good", "overall_score": 8.5, "annotations": {}},
    ],
    "correct_answers": ["None"],
}
BINARIZED = {
    "prompt": "Q", "prompt_id": "7", "chosen": GOOD, "rejected": BAD, "messages": GOOD,
    "score_chosen": 8.5, "score_rejected": 4.0,
}  # fmt: skip
SCORES = {"correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}
HELPSTEER = [
    {"prompt": "Q", "response": "bad", "helpfulness": 1, **SCORES},
    {"prompt": "Q", "response": "good", "helpfulness": 4, **SCORES},
]
OASST = [
    {"message_id": "1", "parent_id": None, "text": "Q", "role": "prompter", "rank": None},
    {"message_id": "2", "parent_id": "1", "text": "bad", "role": "assistant", "rank": 1},
    {"message_id": "3", "parent_id": "1", "text": "good", "role": "assistant", "rank": 0},
]
TREE = {
    "message_tree_id": "1",
    "tree_state": "ready_for_export",
    "prompt": {
        "message_id": "1", "text": "Q", "role": "prompter",
        "replies": [
            {"message_id": "2", "text": "bad", "role": "assistant", "rank": 1, "replies": []},
            {"message_id": "3", "text": "good", "role": "assistant", "rank": 0, "replies": []},
        ],
    },
}  # fmt: skip
SUMMARIES = {
    "info": {"subreddit": "r", "title": "t", "post": "p", "article": None},
    "summaries": [{"text": "bad"}, {"text": "good"}],
    "choice": 1,
}


@pytest.mark.parametrize(
    ("rows", "prompt"),
    [
        ([ALPACA], [{"role": "user", "content": "Q\n\nabout"}]),
        ([{"instruction": "Q", "input": "", "output": "good"}], [USER]),
        ([{"instruction": "Q", "output": "good"}], [USER]),
        ([{"instruction": "Q", "input": "", "output": "good", "system": "S",
           "history": [["A", "B"]]}], [SYSTEM, *EARLIER, USER]),
        ([{"instruction": "Q", "context": "", "response": "good", "category": "qa"}], [USER]),
        ([SHAREGPT], [SYSTEM, USER]),
        ([{"conversation": GOOD}], [USER]),
        ([{"question": "Q", "answer": "good"}], [USER]),
        ([{"system_prompt": "S", "question": "Q", "response": "good"}], [SYSTEM, USER]),
        ([{"prompt": "Q", "response": "good"}], [USER]),
        ([{"query": "Q", "response": "good"}], [USER]),
        ([{"problem": "Q", "solution": "good"}], [USER]),
        ([BINARIZED], [USER]),
        ([ULTRAFEEDBACK], [USER]),
        (HELPSTEER, [USER]),
        ([SHP], [USER]),
        ([NECTAR], [USER]),
        (OASST, [USER]),
        ([TREE], [USER]),
        ([{"chosen": f"{HH} good", "rejected": f"{HH} bad"}], [USER]),
        ([{"chosen": GOOD, "rejected": BAD}], [USER]),
        ([{"prompt": "Q", "chosen": "good", "rejected": "bad"}], [USER]),
    ],
)  # fmt: skip
def test_demonstrations_and_prompts(rows, prompt):
    assert read("demonstrations", *rows) == [Demonstration(prompt, "good")]
    assert read("prompts", *rows) == [prompt]


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": "Q", "completions": ["bad", "good"], "scores": [0.1, 0.7]}],
        [{"prompt": "Q", "completions": ["bad", "good"], "ranks": [2, 1], "scores": [9, 0]}],
        [ULTRAFEEDBACK],
        HELPSTEER,
        [SHP],
        [NECTAR],
        OASST,
        [TREE],
        [{"prompt": "Q", "response_1": "bad", "response_2": "good", "preference_strength": 2}],
        [{"context": [USER], "response1": "bad", "response2": "good", "overall_preference": 1}],
        [{"prompt": "Q", "response_a": "bad", "response_b": "good", "label": "b"}],
        [{"prompt": "Q", "response_0": "bad", "response_1": "good", "better_response_id": 1}],
        [{"conversation_a": BAD, "conversation_b": GOOD, "winner": "model_b", "turn": 1}],
        [{"question": {"full_text": "Q"}, "answer_0": "bad", "answer_1": "good",
          "score_0": -1.0, "score_1": 1.0}],
        [{"prompt": "Q", "completion": "bad", "label": False},
         {"prompt": "Q", "completion": "good", "label": True}],
        [{"prompt": "Q", "response": "bad", "score": 1},
         {"prompt": "Q", "response": "good", "score": "3"}],
    ],
)  # fmt: skip
def test_rankings(rows):
    (item,) = read("rankings", *rows)
    assert item.prompt == [USER]
    assert item.completions == ["bad", "good"]
    assert item.ranks == [2, 1]


@pytest.mark.parametrize(
    "row",
    [
        BINARIZED,
        {"chosen": GOOD, "rejected": BAD},
        {"chosen": f"{HH} good", "rejected": f"{HH} bad"},
        {"question": "Q", "chosen": "good", "rejected": "bad"},
        {"instruction": "Q", "input": "", "chosen": "good", "rejected": "bad"},
        {"conversations": [{"from": "human", "value": "Q"}],
         "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
    ],
)  # fmt: skip
def test_pairs(row):
    (item,) = read("rankings", row)
    assert (item.prompt, item.completions, item.ranks) == ([USER], ["good", "bad"], [1, 2])


def test_pairs_of_whole_texts_share_their_first_words():
    (item,) = read("rankings", {"chosen": "The sky is blue.", "rejected": "The sky is black."})
    assert item.prompt == [{"role": "user", "content": "The sky is"}]
    assert item.completions == [" blue.", " black."]


def test_summaries_have_the_prompt_of_the_paper():
    (item,) = read("rankings", SUMMARIES)
    assert item.prompt[0]["content"] == "SUBREDDIT: r\n\nTITLE: t\n\nPOST: p\n\nTL;DR:"
    assert item.ranks == [2, 1]


def test_the_best_answer_of_ranks_and_scores_is_that_of_the_ranks():
    row = {"prompt": "Q", "completions": ["bad", "good"], "ranks": [2, 1], "scores": [9, 0]}
    assert read("demonstrations", row) == [Demonstration([USER], "good")]


def test_equal_scores_are_ties():
    row = {"prompt": "Q", "completions": ["a", "b", "c"], "scores": [2, 2.0, 1]}
    assert read("rankings", row)[0].ranks == [1, 1, 3]


@pytest.mark.parametrize(
    ("split", "columns", "says"),
    [
        ("demonstrations", ["question", "answer", "response"],
         "could be read as question+response or answer+question; say which column is which, as in "
         "columns={completion:response}"),
        ("demonstrations", ["prompt", "reply", "helpfulness"],
         "has no column 'completion' (needs prompt+completion or messages); did you mean 'reply'?"),
        ("rankings", ["prompt", "chosen", "loser"],
         "no column 'rejected' (needs prompt+completions+ranks or prompt+chosen+rejected or "
         "prompt+completions+scores); did you mean 'loser'? (columns={rejected:...}"),
        ("prompts", ["topic"], "no column 'prompt' (needs prompt or messages); choices: topic"),
        ("pretraining", ["content"], "no column 'text' (needs text); did you mean 'content'?"),
    ],
)  # fmt: skip
def test_what_is_no_form_names_the_nearest(split, columns, says):
    with pytest.raises(UserError) as caught:
        schema_of("files", split, columns)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"data files: {split} ")
