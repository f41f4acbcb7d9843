"""Held-out prompts are not trained on: given ones are refused, drawn ones left out and counted."""

import json

import pytest

from rlhfkit.data import sources
from rlhfkit.data.text_format import load_text_format, plain_text
from rlhfkit.errors import UserError
from rlhfkit.runner.runner import Runner
from rlhfkit.testing.tiny_run import PROMPTS


@pytest.fixture
def write(tmp_path):
    def write(split, rows):
        path = tmp_path / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return f"data.files.{split}={path}"

    return write


@pytest.mark.parametrize(
    ("split", "row"),
    [
        ("prompts", {"prompt": "what is  red and red\n"}),
        ("demonstrations", {"prompt": "what is red and red", "completion": "fine"}),
        ("rankings", {"prompt": "what is red and red", "chosen": "fine", "rejected": "I"}),
    ],
)
def test_a_prompt_that_is_held_out_and_trained_on_is_refused(
    plugins, make_raw, tiny_overrides, write, split, row
):
    runner = Runner(make_raw(*tiny_overrides, "stages=[sft]", write(split, [row])), plugins)
    with pytest.raises(UserError) as error:
        runner.run()
    assert str(error.value) == (
        f"data.files.eval_prompts leaks into training: data.files.{split} has 1 of its prompts and "
        f"users too, as the prompt 'what is red and red'; take them out of one of the two"
    )
    assert not runner.run_dir.stage_dir("sft").exists()


def test_a_user_who_is_held_out_and_trained_on_is_refused(run_tiny, write):
    given = [
        write("prompts", [{"prompt": "what is red", "user": 7}]),
        write("eval_prompts", [{"prompt": "what is on", "user": "7"}]),
    ]
    with pytest.raises(
        UserError, match=r"data\.files\.prompts has 1 of its .* too, as the user .7"
    ):
        run_tiny("stages=[sft]", *given)


def test_a_refused_run_goes_on_once_the_data_is_mended(run_tiny, write):
    with pytest.raises(UserError, match="leaks into training"):
        run_tiny("stages=[prepare]", write("eval_prompts", [{"prompt": PROMPTS[0]}]))
    runner = run_tiny("stages=[prepare]", write("eval_prompts", [{"prompt": "what is on"}]))
    assert runner.run_dir.record("prepare") is not None


def texts(prompts):
    return {plain_text(prompt) for prompt in prompts}


@pytest.fixture
def drawn(make_context, tiny_overrides, write, tiny_files):
    """A context without eval_prompts, of which eval_fraction holds out a half."""

    def draw(rows):
        given = [write("prompts", rows), f"data.files.rankings={tiny_files['rankings']}"]
        fixed = ("data.files.eval_prompts=null", "eval_fraction=0.5")
        return make_context(*tiny_overrides, *given, *fixed)

    return draw


def test_what_eval_fraction_holds_out_is_no_demonstration_and_no_ranking(drawn, capsys):
    context = drawn([{"prompt": text} for text in PROMPTS])
    text = load_text_format(context)
    held_out = texts(sources.held_out_prompts(context, text))
    rest = set(PROMPTS) - held_out
    assert held_out
    assert texts(sources.training_prompts(context, text)) == rest
    assert texts(item.prompt for item in sources.demonstrations(context)) == rest
    assert texts(item.prompt for item in sources.rankings(context)) == rest
    said = " ".join(capsys.readouterr().out.split())
    count = f"dropped {len(held_out)} (prompt or user held out by eval_fraction) of 12"
    assert f"demonstrations: {count}" in said
    assert f"rankings: {count}" in said


def test_eval_fraction_holds_out_users_where_rows_have_them(drawn):
    rows = [{"prompt": f"{text} {word}", "user": text} for text in PROMPTS for word in ("I", "on")]
    context = drawn(rows)
    text = load_text_format(context)
    held_out = texts(sources.held_out_prompts(context, text))
    training = texts(sources.training_prompts(context, text))
    users = [{prompt.rsplit(" ", 1)[0] for prompt in side} for side in (held_out, training)]
    assert len(users[0]) + len(users[1]) == 12
    assert all(users)


def test_demonstrations_that_are_all_held_out_are_an_error(drawn):
    context = drawn([{"prompt": text, "user": "one"} for text in PROMPTS])
    context.config.eval_fraction = 0.9999
    with pytest.raises(UserError, match=r"eval_fraction=0\.9999: holds out all of demonstrations"):
        sources.demonstrations(context)
