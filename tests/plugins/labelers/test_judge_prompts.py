"""What judges are asked, and what is refused of a user's own prompt."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import write_json
from rlhfkit_plugins.labelers.judge_prompt import load_prompts
from rlhfkit_plugins.labelers.prompt_file import FOLDER

GOOD = {
    "user": "{conversation} 1: {first} 2: {second}",
    "verdicts": {"first": "<1>", "second": "<2>"},
}


def test_the_package_s_own():
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    names.remove("rating")
    assert names == ["instruction", "pairwise", "truthful"]
    for prompt in load_prompts("labeler.prompts", names):
        asked = prompt.messages([{"role": "user", "content": "{first}"}], "one", "{second} {x}")
        text = asked[1]["content"]
        assert [text.count(part) for part in ("{first}", "one", "{second} {x}")] == [1, 1, 1]
        outcomes = [prompt.outcome(f"Well, {text}.") for text, _ in prompt.verdicts]
        assert outcomes == [1, -1, 0]
        assert prompt.outcome("I cannot say.") is None


def test_the_last_verdict_counts_and_turns_have_speakers(tmp_path):
    write_json(tmp_path / "own.yaml", GOOD)  # JSON is YAML
    (prompt,) = load_prompts("labeler.prompts", [str(tmp_path / "own.yaml")])
    assert (prompt.name, prompt.system) == ("own", "")
    assert prompt.outcome("<1>? No, <2>.") == -1
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    (asked,) = prompt.messages(turns, "a", "b")
    assert asked == {"role": "user", "content": "User: Hi\n\nAssistant: Hello 1: a 2: b"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "'user' must be a text"),
        ({**GOOD, "user": "{first} {second}"}, "'user' lacks {conversation}"),
        ({**GOOD, "users": ""}, "unknown key 'users'"),
        ({**GOOD, "system": 5}, "'user' must be a text, and 'system'"),
        ({**GOOD, "verdicts": {"first": "A"}}, "'verdicts' must have the texts 'first'"),
        ({**GOOD, "verdicts": {"first": "A", "second": "B", "draw": "C"}}, "'verdicts' must have"),
        ({**GOOD, "verdicts": {"first": "A", "second": " "}}, "'verdicts' must have"),
        ({**GOOD, "verdicts": {"first": "A", "second": "BA"}}, "part of another"),
        ({**GOOD, "verdicts": {"first": "A", "second": "A"}}, "part of another"),
    ],
    ids=str,
)
def test_what_is_no_prompt(tmp_path, content, words):
    write_json(tmp_path / "own.yaml", content)
    with pytest.raises(UserError, match=words):
        load_prompts("labeler.prompts", [str(tmp_path / "own.yaml")])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["pairwize"], "no prompt 'pairwize'; did you mean 'pairwise'"),
        (["nowhere/own.yaml"], "no prompt 'nowhere/own.yaml'"),
        ([], "name at least one, and none twice"),
        (["pairwise", "pairwise"], "name at least one, and none twice"),
    ],
    ids=str,
)
def test_names_that_cannot_be(names, words):
    with pytest.raises(UserError, match=words):
        load_prompts("labeler.prompts", names)


def test_text_that_is_no_yaml(tmp_path):
    (tmp_path / "own.yaml").write_text("user: [", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read") as error:
        load_prompts("labeler.prompts", [str(tmp_path / "own.yaml")])
    assert "\n" not in str(error.value)
