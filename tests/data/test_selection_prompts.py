"""Prompts that RL's policy is selected by: neither RL nor evaluate answers them."""

import json

import pytest

from rlhfkit.data import sources
from rlhfkit.data.split_keys import prompt_key
from rlhfkit.data.text_format import load_text_format, plain_text
from rlhfkit.errors import UserError
from rlhfkit.runner.runner import Runner
from rlhfkit.testing import tiny

SELECT = ("stage.rl.select_by=objective", "stage.rl.select_prompts=12")


@pytest.fixture
def overrides(tmp_path):
    """200 prompts, each written twice with other blanks, and 5 more to evaluate on."""
    tiny.language_model(tmp_path / "base")
    for name, texts in {
        "prompts": [f"red{blank}{n}" for n in range(200) for blank in (" ", "  ")],
        "eval_prompts": [f"blue {n}" for n in range(5)],
    }.items():
        lines = "".join(json.dumps({"prompt": text}) + "\n" for text in texts)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    return [
        f"model.path={tmp_path / 'base'}", "data=[files]", "model.max_prompt_length=48",
        f"data.files.prompts={tmp_path / 'prompts.jsonl'}", *SELECT,
    ]  # fmt: skip


def parts(context):
    """What RL answers, what it is selected by, and what evaluate answers, each prompt once."""
    text = load_text_format(context)
    answered, apart = sources.prompts_of_rl_and_selection(context, text)
    held_out = sources.held_out_prompts(context, text)
    assert len(apart) == len({prompt_key(prompt) for prompt in apart})
    return [{prompt_key(prompt) for prompt in part} for part in (answered, apart, held_out)]


def none_shared(answered, apart, held_out):
    return answered | apart | held_out and not (
        answered & apart or apart & held_out or answered & held_out
    )


def test_they_are_apart_from_a_share_that_is_held_out(make_context, overrides):
    answered, apart, held_out = parts(make_context(*overrides, "eval_fraction=0.2"))
    assert none_shared(answered, apart, held_out)
    assert len(apart) == 12
    assert len(answered) + len(apart) + len(held_out) == 200


def test_they_are_apart_from_prompts_that_are_given(make_context, overrides, tmp_path):
    given = f"data.files.eval_prompts={tmp_path / 'eval_prompts.jsonl'}"
    answered, apart, held_out = parts(make_context(*overrides, given))
    assert none_shared(answered, apart, held_out)
    assert [len(answered), len(apart), len(held_out)] == [188, 12, 5]


def test_they_are_of_the_validation_part_where_there_is_one(
    make_raw, make_context, plugins, overrides
):
    split = ("stage.prepare.validation_fraction=0.1", "stage.prepare.test_fraction=0.1")
    Runner(make_raw(*overrides, *split, "stages=[prepare]"), plugins).run()
    context = make_context(*overrides, *split)
    answered, apart, held_out = parts(context)
    assert none_shared(answered, apart, held_out)
    validation = sources.validation_prompts(context, load_text_format(context))
    assert apart <= {prompt_key(prompt) for prompt in validation}
    without = make_context(*overrides, *split, "stage.rl.select_by=last")
    assert answered == parts(without)[0]  # RL loses none of its own


def test_they_are_the_same_in_every_run_of_a_seed(make_context, overrides):
    first, again = (parts(make_context(*overrides))[1] for _ in range(2))
    other = parts(make_context(*overrides, "seed=1"))[1]
    assert first == again != other


def test_a_fifth_of_the_prompts_at_most_is_set_apart(make_context, overrides):
    context = make_context(*overrides, "eval_fraction=0", "stage.rl.select_prompts=500")
    answered, apart = sources.prompts_of_rl_and_selection(context, load_text_format(context))
    assert [len(answered), len(apart)] == [320, 40]


def test_too_few_are_a_line(make_context, overrides, tmp_path):
    lines = "".join(json.dumps({"prompt": f"red {n}"}) + "\n" for n in range(9))
    (tmp_path / "prompts.jsonl").write_text(lines)
    context = make_context(*overrides, "eval_fraction=0")
    with pytest.raises(UserError, match="9 prompts in all, too few to set two apart"):
        sources.prompts_of_rl_and_selection(context, load_text_format(context))


def test_without_it_rl_has_all_prompts(make_context, overrides):
    context = make_context(*overrides, "eval_fraction=0", "stage.rl.select_by=last")
    answered, apart = sources.prompts_of_rl_and_selection(context, load_text_format(context))
    assert [plain_text(prompt) for prompt in answered[:2]] == ["red 0", "red  0"]
    assert [len(answered), len(apart)] == [400, 0]
