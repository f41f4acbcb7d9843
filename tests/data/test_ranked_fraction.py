"""Two sets of prompts: those whose completions are ranked, and those that RL answers."""

import json
from dataclasses import replace

import pytest

from rlhfkit.data import sources
from rlhfkit.data.text_format import load_text_format, plain_text
from rlhfkit.errors import UserError
from rlhfkit.testing import tiny


@pytest.fixture
def both(make_context, tmp_path):
    """`both("ranked_fraction=0.6")`: the prompts to rank and those of RL, of 100."""
    tiny.language_model(tmp_path / "base")
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"red {n}"}) + "\n" for n in range(100)))

    def found(*overrides):
        context = make_context(
            f"model.path={tmp_path / 'base'}", "data=[files]", f"data.files.prompts={file}",
            "eval_fraction=0", "model.max_prompt_length=48", *overrides,
        )  # fmt: skip
        text = load_text_format(context)
        parts = (sources.prompts_to_rank(context, text), sources.prompts_of_rl(context, text))
        return [[plain_text(prompt) for prompt in part] for part in parts]

    return found


def test_all_are_for_both_by_default(both):
    ranked, answered = both()
    assert ranked == answered == [f"red {n}" for n in range(100)]


def test_a_share_is_ranked_and_the_rest_is_for_rl(both):
    ranked, answered = both("ranked_fraction=0.6")
    assert sorted([*ranked, *answered]) == sorted(f"red {n}" for n in range(100))
    assert len(ranked) == 70
    assert both("ranked_fraction=0.6", "seed=7") == [ranked, answered]


def test_rl_takes_some_at_random(both):
    ranked, answered = both("ranked_fraction=0.6", "stage.rl.num_prompts=10")
    assert len(ranked) == 70
    assert len(set(answered)) == 10
    assert set(answered) < set(both("ranked_fraction=0.6")[1])
    assert answered != both("ranked_fraction=0.6")[1][:10]
    assert both("stage.rl.num_prompts=1000")[1] == both()[1]


def test_a_share_that_leaves_nothing_is_refused(both):
    with pytest.raises(UserError, match=r"ranked_fraction=0\.001: leaves no prompt to rank of the"):
        both("ranked_fraction=0.001")
    with pytest.raises(UserError, match=r"ranked_fraction=0\.9999: leaves no prompt to RL of the"):
        both("ranked_fraction=0.9999")


def test_it_is_said_before_anything_is_trained(run_tiny):
    with pytest.raises(UserError, match=r"ranked_fraction=0\.0001: leaves no prompt to rank"):
        run_tiny("ranked_fraction=0.0001")


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5])
def test_a_share_is_between_0_and_1(make_context, share):
    config = make_context().config
    with pytest.raises(UserError, match=f"ranked_fraction={share}: must be"):
        replace(config, ranked_fraction=share).check("")
