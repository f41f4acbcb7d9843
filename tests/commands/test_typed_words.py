"""What is typed is what is meant, or one line says what to type."""

import pytest

from rlhfkit.commands.typed_words import as_hydra_reads
from rlhfkit.errors import UserError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("model.path=a=b/model", 'model.path="a=b/model"'),
        ("model.path=~/m", 'model.path="~/m"'),
        ("model.path=ünï/m", 'model.path="ünï/m"'),
        ("model.path=br[1]", 'model.path="br[1]"'),
        ("model.path=my model", "model.path=my model"),
        ("model.path=it's", 'model.path="it\'s"'),
        ("model.path='quoted=1'", "model.path='quoted=1'"),
        ("model.path=${oc.env:HOME}/m", "model.path=${oc.env:HOME}/m"),
        ("model.revision=7e1234", 'model.revision="7e1234"'),
        ("model.revision=null", "model.revision=null"),
        ("run_name=true", 'run_name="true"'),
        ("reuse=runs/x/kl.kl_coef=0.02,seed=1", 'reuse="runs/x/kl.kl_coef=0.02,seed=1"'),
        (r"reward.format.pattern=[.!?]\s*$", r'reward.format.pattern="[.!?]\s*$"'),
        ("stage.evaluate.opponents.PPO=a=b", '++stage.evaluate.opponents.PPO="a=b"'),
        ("stage.report.runs=[runs/a=1,~/b]", 'stage.report.runs=["runs/a=1","~/b"]'),
        ("stages=sft", "stages=[sft]"),
        ("stages=sft,label", "stages=[sft,label]"),
        ("stages=[sft, label]", "stages=[sft, label]"),
        ("reward=reward_model,length", "reward=[reward_model,length]"),
        ("seed=0", "seed=0"),
        ("~kl", "~kl"),
    ],
)
def test_a_text_is_the_text_that_was_typed(plugins, typed, read):
    assert as_hydra_reads([typed], plugins) == ([read], [])


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("seed=0,1", "seed=0,1"),
        ("model.path=a,b", "model.path=a,b"),
        ("model.path=~/a,~/b", 'model.path="~/a","~/b"'),
        ("model.path=choice(a,b)", "model.path=choice(a,b)"),
        ("reward=reward_model,length", "reward=reward_model,length"),
        ("stages=[sft],[sft,rl]", "stages=[sft],[sft,rl]"),
    ],
)
def test_a_sweep_stays_one(plugins, typed, read):
    assert as_hydra_reads(["--multirun", typed], plugins) == ([read], ["--multirun"])


def test_flags_keep_their_values(plugins):
    typed = ["--config-dir", "a=b", "seed=1", "--cfg=job", "-p", "x"]
    read = (["seed=1"], ["--config-dir", "a=b", "--cfg=job", "-p", "x"])
    assert as_hydra_reads(typed, plugins) == read


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--run_name=foo"], "--run_name=foo: options have no dashes; type run_name=foo"),
        (["--run-name", "foo"], "--run-name: options have no dashes; type run_name=foo"),
        (["--recipe", "quickstart"], "--recipe: options have no dashes; type recipe=quickstart"),
        (["--multirum"], "--multirum: no such flag, and options are typed key=value; did you mean"),
        (["quickstart"], "'quickstart': options are typed key=value; did you mean recipe="),
        (["model.path=my", "model"], "quote the two: 'model.path=my model'"),
        (["stages=[sft,", "label]"], "a blank ends an argument; quote it whole: 'stages=[sft, "),
        (["stage.x={a:", "1}"], "a blank ends an argument; quote it whole: 'stage.x={a: 1}'"),
        (["modle.path=~/m"], "as a text it is typed 'modle.path=\"~/m\"'"),
        (["seed=[1"], "cannot read 'seed=[1': no viable alternative at input '[1'"),
    ],
    ids=" ".join,
)
def test_a_line_says_what_to_type(plugins, typed, says):
    with pytest.raises(UserError) as error:
        as_hydra_reads(typed, plugins)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
