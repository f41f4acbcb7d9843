"""What a vLLM server cannot do for a run is told before anything is trained."""

import sys

import pytest

from rlhfkit.errors import Mistakes
from rlhfkit.testing import tiny
from rlhfkit_plugins.samplers.server_checks import check_served, longest


@pytest.fixture
def context(make_context, tmp_path):
    """`context("stages=[rl]")`: of a run whose model was made for 64 tokens."""
    tiny.language_model(tmp_path / "base")
    fixed = ["sampler=server", f"model.path={tmp_path / 'base'}", "model.max_prompt_length=24"]
    fixed += ["sampler.response_length=8", "stages=[sample,rl,evaluate]"]

    def make(*overrides, launch=True):
        chosen = ["sampler.launch=true", f"sampler.command=[{sys.executable}]"]
        elsewhere = ["sampler.model=base", "sampler.adapter_dir=x"]
        return make_context(*fixed, *(chosen if launch else elsewhere), *overrides)

    return make


def told(context):
    with pytest.raises(Mistakes) as error:
        check_served(context.config.sampler, context)
    return error.value.lines


@pytest.mark.parametrize(("loader", "launch"), [("lora", True), ("qlora", False)])
def test_adapters_are_served(context, launch, loader):
    made = context(f"loader={loader}", "stage.evaluate.temperature=0.01", launch=launch)
    check_served(made.config.sampler, made)


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        ([], "stages sample, rl and evaluate"),
        (["stages=[sample,rl]", "optimizer=dpo"], "stage sample"),
        (["stages=[rl]", "stage.sample.models=[base]"], "stage rl"),
        (["stages=[sft]", "stage.sft.select_by=reward"], "stage sft"),
    ],
)
def test_models_that_are_trained_whole(context, overrides, stages):
    (line,) = told(context("loader=full", *overrides, launch=False))
    assert f"loader=full trains other models, from which {stages} would sample; take" in line


def test_whole_models_that_no_server_is_asked_for(context):
    made = context("loader=full", "stages=[sft,sample,reward_model]", "stage.sample.models=[base]")
    check_served(made.config.sampler, made)


def test_other_models_than_the_base(context):
    lines = told(
        context(
            "loader=lora",
            "stage.sample.models=[sft,me/other]",
            "+stage.evaluate.opponents.big=me/big",
            "stage.evaluate.temperature=0.005",
            launch=False,
        )
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "stage.evaluate.temperature=0.005",
        "stage.sample.models=me/other",
        "stage.evaluate.opponents.big=me/big",
    ]
    assert lines[0].endswith("stage.evaluate.temperature=0.01 is nearly greedy")


def test_longer_texts_than_the_model_was_made_for(context):
    (line,) = told(context("loader=lora", "model.max_prompt_length=57"))
    assert line.startswith(
        "sampler.launch=true: the longest prompt and answer take 65 tokens "
        "(model.max_prompt_length=57, sampler.response_length=8), and vLLM serves no more than the "
        "64 that "
    )
    elsewhere = context("loader=lora", "model.max_prompt_length=57", launch=False)
    check_served(elsewhere.config.sampler, elsewhere)


FEW_SHOT = "stage.evaluate.few_shot=[{role:user,content:a b c},{role:assistant,content:d e}]"


def test_the_prompted_policy_needs_room_for_what_stands_before(context):
    """Two messages: a role, three or two words, and an end each."""
    made = context("loader=lora", FEW_SHOT)
    assert longest(made.config.sampler, made)[0] == 24 + 8 + 5 + 4
    apart = context("loader=lora", FEW_SHOT, "stages=[rl]")
    assert longest(apart.config.sampler, apart)[0] == 24 + 8
    (line,) = told(context("loader=lora", FEW_SHOT, "sampler.arguments=[--max-model-len,40]"))
    assert line.startswith("sampler.arguments: --max-model-len 40 is too short: the longest")
    assert "take 41 tokens" in line
    assert "stage.evaluate.few_shot 9" in line
