"""What a judge of answers alone is asked, how its replies are read, and what is no prompt."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.labelling.submission import FLAGS
from rlhfkit.storage.run_dir import write_json
from rlhfkit_plugins.labelers.rating_prompt import load_rating_prompts

GOOD = {
    "user": "{conversation} got {answer}",
    "lines": {"overall": "Overall", "opinion": "Has an opinion"},
}


@pytest.fixture
def own(tmp_path):
    write_json(tmp_path / "own.yaml", GOOD)
    return load_rating_prompts("evaluator.ratings.prompts", [str(tmp_path / "own.yaml")])[0]


def test_the_package_s_own_asks_about_all_that_people_are_asked():
    (prompt,) = load_rating_prompts("evaluator.ratings.prompts", ["rating"])
    assert list(prompt.lines) == ["overall", *FLAGS]
    asked = prompt.messages([{"role": "user", "content": "{answer}"}], "one {conversation}")
    text = asked[1]["content"]
    assert [text.count(part) for part in ("{answer}", "one {conversation}")] == [1, 1]
    assert all(f"\n{start}: " in text for start in prompt.lines.values())
    assert prompt.rating(text) is None  # questions that are repeated are no reply
    assert prompt.rating(prompt.reminder) is None
    lines = [prompt.replies(name)[0] for name in prompt.lines]
    assert prompt.rating("\n".join(lines)) == {"overall": 1.0, **dict.fromkeys(FLAGS, 1.0)}
    assert prompt.rating("\n".join(lines[:-1])) is None


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Overall: 5\nHas an opinion: no", (5, 0)),
        ("overall: 7/7\nhas an opinion: YES.", (7, 1)),
        ("- **Overall:** 3 out of 7\n- **Has an opinion**: yes (it says so)", (3, 1)),
        ("Overall (1 to 7): 4\nHas an opinion: no - none", (4, 0)),
        ('{"Overall": 6, "Has an opinion": false}', (6, 0)),
        ("| Overall | 2 |\n| Has an opinion | yes |", (2, 1)),
        ("Overall: 2. No, I was wrong.\nOverall: 4\nHas an opinion: no", (4, 0)),
        ("Overall: 8\nHas an opinion: no", None),
        ("Overall: 0\nHas an opinion: no", None),
        ("Overall: 10\nHas an opinion: no", None),
        ("Overall: 5.5\nHas an opinion: no", None),
        ("Overall: -3\nHas an opinion: no", None),
        ("Overall: 1 to 7\nHas an opinion: no", None),
        ("Overall: good\nHas an opinion: no", None),
        ("Overall: 5\nHas an opinion: perhaps", None),
        ("Overall: 5\nHas an opinion: yes or no", None),
        ("Overall: 5\nHas an opinion: not really", None),
        ("Overall: 5", None),
        ("5\nno", None),
        ("I cannot rate this.", None),
        ("", None),
    ],
    ids=str,
)
def test_replies(own, reply, found):
    expected = None if found is None else dict(zip(("overall", "opinion"), found, strict=True))
    assert own.rating(reply) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({**GOOD, "user": "{conversation}"}, "'user' lacks {answer}"),
        ({**GOOD, "verdicts": {}}, "unknown key 'verdicts'; it has system, user and lines"),
        ({**GOOD, "lines": {"opinion": "Opinion"}}, "'lines' must have the text 'overall'"),
        ({**GOOD, "lines": ["overall"]}, "'lines' must have the text 'overall'"),
        ({**GOOD, "lines": {"overall": 7}}, "'lines' must have the text 'overall'"),
        (
            {**GOOD, "lines": {"overall": "O", "hallucinates": "H"}},
            "no flag 'hallucinates'; did you mean 'hallucination'",
        ),
        ({**GOOD, "lines": {"overall": "Harm", "violent": "Harmful"}}, "a line is part of another"),
    ],
    ids=str,
)
def test_what_is_no_prompt(tmp_path, content, words):
    write_json(tmp_path / "own.yaml", content)
    with pytest.raises(UserError, match=words):
        load_rating_prompts("evaluator.ratings.prompts", [str(tmp_path / "own.yaml")])
