"""Every mistake is told in seconds, all at once, before anything is set aside or trained."""

import json
import re
import shutil

import pytest
from transformers import GPT2Config

from rlhfkit.commands.check import check
from rlhfkit.errors import Mistakes, UserError
from rlhfkit.runner.preflight import find_mistakes
from rlhfkit.runner.runner import Runner
from rlhfkit.testing import tiny
from rlhfkit.testing.tiny_run import PROMPTS

DEFAULT = "stages=[sft,sample,label,reward_model,rl,evaluate,report]"


@pytest.fixture
def runner(plugins, make_raw, tiny_overrides):
    """`runner("seed=1")`: of the tiny run."""

    def make(*overrides):
        return Runner(make_raw(*tiny_overrides, *overrides), plugins)

    return make


@pytest.fixture
def mistakes(runner):
    """`mistakes("stages=[rl]")`: the lines of the check."""

    def find(*overrides):
        planned, found = runner(*overrides).planned()
        return find_mistakes(planned, found)

    return find


@pytest.fixture
def rows(tmp_path):
    """`rows("prompts", [{...}])`: the option of a file with these rows."""

    def write(split, items):
        path = tmp_path / f"{split}.jsonl"
        path.write_text("".join(json.dumps(item) + "\n" for item in items))
        return f"data.files.{split}={path}"

    return write


def without(*splits):
    return [f"data.files.{split}=null" for split in splits]


def test_a_run_without_mistakes(runner, capsys):
    check(runner(DEFAULT))
    said = " ".join(capsys.readouterr().out.split())
    assert "prompts │ 12 │ 12 │" in said
    assert "prompt 6, 7 (24)" in said
    assert "no mistake found; would run: sft, sample, label, reward_model, rl, evaluate" in said
    assert (
        said.count("labeler=simulated: your data is judged by a few rules that were written") == 1
    )


def test_people_judge_their_own_data(runner, rows, capsys):
    ranked = [{"prompt": text, "chosen": "it is fine", "rejected": "red"} for text in PROMPTS]
    check(runner("stages=[label,reward_model]", "labeler=imported", rows("rankings", ranked)))
    assert "labeler=simulated" not in capsys.readouterr().out
    assert not runner().run_dir.root.exists()


def test_an_attention_that_transformers_does_not_have(mistakes):
    (line,) = mistakes("stages=[sft]", "model.attn_implementation=sdp")
    assert (
        "model.attn_implementation=sdp: no attention that works here; did you mean 'sdpa'" in line
    )


def test_all_mistakes_at_once(mistakes, rows, tmp_path):
    found = mistakes(
        DEFAULT,
        "stage.sft.learning_rate=-1",
        "kl.target=0",
        "gpu=RTX4090",
        rows("demonstrations", [{"asked": "a", "told": "b"}]),
        rows("prompts", [{"promt": "a"}]),
        f"data.files.eval_prompts={tmp_path / 'none.jsonl'}",
    )
    said = "\n".join(found)
    for words in (
        "gpu=RTX4090: not a size",
        "kl.target=0",
        "stage.sft.learning_rate=-1",
        "demonstrations has no column 'prompt'",
        "did you mean 'promt'?",
        "none.jsonl: no such file",
    ):
        assert said.count(words) == 1, said
    assert len(found) == 6, said


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["stages=[sft,reward_model]"],
            "stage reward_model needs rankings: let the stage 'label' run first",
        ),
        (["stages=[label]"], "stage label needs completions to rank: let the stage 'sample' run"),
        (["stages=[sample]"], "stage.sample.models=['sft'] needs the model of stage sft"),
        (["stages=[sft,rl]"], "reward=reward_model: stage rl needs the model of stage"),
        (
            ["stages=[sft,rl]", "optimizer=dpo"],
            "optimizer=dpo needs the result of stage label: let the stage 'label' run first",
        ),
        (["stages=[evaluate]"], "stage evaluate has nothing to compare with the base model"),
        (
            ["stages=[sft,rl]", "optimizer=rloo", "stage.rl.batch_size=6", "reward=[length]"],
            "stage.rl.batch_size=6: must be a multiple of the 4 completions per prompt",
        ),
        (
            ["stages=[sft,rl]", "reward=[gold]", "labeler=imported"],
            "reward=gold: labeler=imported has no score to give",
        ),
        (
            ["stages=[sft,rl]", "reward=[length]", "kl.horizon=1"],
            "kl.horizon=1: too short for stage.rl.batch_size=8",
        ),
        (
            ["stages=[sft]", "stage.sft.select_by=reward", "stage.sft.validation_fraction=0.2"],
            "select_by=reward: reward=reward_model must be there before stage sft: name one with",
        ),
        (
            ["stages=[sft]", "stage.sft.select_by=loss"],
            "stage.sft.select_by=loss: no validation rows; raise stage.sft.validation_fraction",
        ),
        (
            ["stages=[sft,evaluate]", "+stage.evaluate.opponents.other=./no"],
            "stage.evaluate.opponents.other=./no: no such folder",
        ),
        (["stages=[sft]", "model.path=./nomodel"], "model.path=./nomodel: no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_later_stage_will_miss(mistakes, overrides, says):
    found = mistakes(*overrides)
    assert len(found) == 1, found
    assert says in found[0]


def test_rankings_given_but_nobody_takes_them(mistakes, runner, tiny_files, capsys):
    given = f"data.files.rankings={tiny_files['rankings']}"
    found = mistakes("stages=[label,reward_model]", given)
    assert found == [
        "stage label needs completions to rank: let the stage 'sample' run first, as in "
        "stages=[sample,label]; you gave data.files.rankings: labeler=imported takes them"
    ]
    assert mistakes("stages=[label,reward_model]", given, "labeler=imported") == []
    check(runner(DEFAULT, given))
    assert "data.files.rankings is not read: labeler=simulated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("split", "stages"),
    [
        ("rankings", "stages=[sft,label,reward_model]"),
        ("prompts", "stages=[sft,sample]"),
        ("eval_prompts", "stages=[sft,evaluate]"),
        ("pretraining", "stages=[sft,rl_sft]"),
        ("demonstrations", "stages=[label,reward_model]"),
    ],
)
def test_wrong_columns_are_found_before_the_stage_that_trains(mistakes, rows, split, stages):
    given = ["labeler=imported"] if split in ("rankings", "demonstrations") else []
    if split == "demonstrations":
        ranked = {"prompt": "what is red", "chosen": "it is fine", "rejected": "I"}
        given.append(rows("rankings", [ranked]))
    found = mistakes(stages, *given, rows(split, [{"wrong": "a"}]))
    assert len(found) == 1, found
    assert f"{split} has no column" in found[0]


def test_demonstrations_alone_are_held_out_for_evaluation(runner, capsys):
    alone = without("prompts", "eval_prompts", "pretraining")
    check(runner(DEFAULT, *alone, "eval_fraction=0.3"))
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"prompts │ 12 │ (\d+) │ \d+ held out by", said)
    assert "no mistake found" in said


def test_nothing_held_out_names_the_least_fraction(mistakes):
    alone = without("prompts", "eval_prompts")
    found = mistakes(DEFAULT, *alone, "eval_fraction=0.001")
    assert len(found) == 1
    assert found[0].startswith("eval_fraction=0.001: holds out none of 12 prompts")
    enough = found[0].rpartition(" ")[2]
    assert mistakes(DEFAULT, *alone, enough) == []


def test_texts_that_are_all_too_long(mistakes):
    found = mistakes("stages=[sft,sample]", "model.max_prompt_length=2")
    assert found == [
        "no usable row in demonstrations: all 12 are too long; raise model.max_prompt_length and "
        "stage.sft.max_completion_length; the shortest needs model.max_prompt_length=6",
        "no usable prompt in prompts: all 12 are too long; raise model.max_prompt_length; the "
        "shortest needs model.max_prompt_length=6",
    ]


def test_a_template_that_refuses_every_row_and_one_that_refuses_some(mistakes, rows):
    template = "{% for m in messages %}{{ raise_exception('no system') if m.role == 'system' }}"
    template += "{{ m.content }}{% endfor %}"
    prompts = [{"prompt": text} for text in PROMPTS]
    system = [{"role": "system", "content": "fine"}, {"role": "user", "content": "what is red"}]
    words = ("stages=[sft,sample]", f'model.chat_template="{template}"')
    assert mistakes(*words, rows("prompts", [*prompts, {"prompt": system}])) == []
    (found,) = mistakes(*words, rows("prompts", [{"prompt": system}] * 2))
    assert "no usable prompt in prompts: the chat template refuses: no system" in found


def test_a_model_without_weights(mistakes, tmp_path, tiny_files):
    shutil.copytree(tiny_files["model"], tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").unlink()
    found = mistakes("stages=[sft]", f"model.path={tmp_path / 'base'}")
    assert found == [
        f"model '{tmp_path / 'base'}' has no weights as safetensors: no model.safetensors in "
        f"{tmp_path / 'base'}"
    ]


def test_a_mistake_sets_nothing_aside(runner, run_tiny, rows):
    run_tiny("stages=[sft]")
    broken = runner("stages=[sft]", "force_from=sft", rows("demonstrations", [{"wrong": 1}]))
    with pytest.raises(UserError, match="no column 'prompt'"):
        broken.run()
    assert broken.run_dir.record("sft") is not None
    assert not (broken.run_dir.root / "replaced").exists()


def test_several_mistakes_are_a_line_each_and_nothing_is_made(runner):
    broken = runner("stages=[sft]", "kl.target=0", "eval_fraction=2")
    with pytest.raises(Mistakes) as refused:
        broken.run()
    assert len(str(refused.value).splitlines()) == 2
    assert not broken.run_dir.root.exists()


def test_a_stage_made_with_other_settings_is_refused_before_an_earlier_one_trains(runner, run_tiny):
    run_tiny("stages=[sft,sample,label]")
    options = ("stage.sample.num_completions=2", "stage.label.overlap_prompts=3")
    changed = runner("stages=[prepare,sample,label]", *options)
    with pytest.raises(
        UserError, match=r"num_completions: 3 -> 2\); add force_from=sample"
    ) as told:
        changed.run()
    assert "overlap_prompts" not in str(told.value)
    assert changed.run_dir.record("prepare") is None


@pytest.mark.parametrize(
    ("config", "fails"),
    [
        (GPT2Config(vocab_size=64, n_positions=16, n_embd=16, n_layer=1, n_head=2), True),
        (tiny.config(max_position_embeddings=16), False),
    ],
    ids=["a table of positions", "RoPE"],
)
def test_texts_longer_than_the_models_context(runner, rows, tmp_path, config, fails):
    config.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").touch()
    tiny.tokenizer(tmp_path / "base", chat=True)
    options = [
        *("stages=[sample]", "stage.sample.models=[base]", f"model.path={tmp_path / 'base'}"),
        *("data.files.eval_prompts=null", "eval_fraction=0"),
        rows("prompts", [{"prompt": "what is red"}, {"prompt": "red " * 9}]),
    ]
    planned, found = runner(*options).planned()
    found = find_mistakes(planned, found)
    line = (
        f"prompts: up to 18 tokens, sampler.response_length=6 among them, but {tmp_path / 'base'} "
        f"was made for 16; lower model.max_prompt_length"
    )
    assert (found, planned.notes) == (([line], []) if fails else ([], [line]))
