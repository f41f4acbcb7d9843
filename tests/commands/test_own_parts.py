"""Parts that are functions of the user's own: reward=mine.py:score."""

import json
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_module
from hydra._internal import hydra as hydra_internals
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlhfkit.commands.error_lines import one_line
from rlhfkit.commands.own_parts import OwnParts
from rlhfkit.commands.untrusted_config import guard_configs
from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.plugin_calls import judgements_of
from rlhfkit.runner.preflight import check_options, try_user_code
from rlhfkit.runner.runner import Runner
from rlhfkit.runner.stage_settings import stage_settings
from rlhfkit.stages.registry import find_stage
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.types import PolicySamples, Response

MINE = """
import re
import helper

def score(prompts, completions, threshold=3, pattern=re.compile("a"), **kwargs):
    return [float(len(text.split()) > threshold) for text in completions]

def length(completions):
    return [len(text) for text in completions]

def solved(completions, solution):
    return [float(text == right) for text, right in zip(completions, solution)]

def texts(prompts: list[str], completions: list[list[dict[str, str]]], **kwargs):
    return [len(p) + len(c[0]["content"]) for p, c in zip(prompts, completions)]

class Bonus:
    def __init__(self, bonus: int = 1):
        self.bonus = bonus
    def __call__(self, completions, **kwargs):
        return [self.bonus] * len(completions)

def rank(prompts, completions, reverse=False):
    return [[1 + sorted(row, key=len, reverse=reverse).index(text) for text in row]
            for row in completions]

def rows(count=2):
    return {"prompts": [{"prompt": f"what is {i}"} for i in range(count)]}

def nan(completions): return [float("nan")] * len(completions)
def short(completions): return [1.0]
def raising(completions): return [1 / 0]
def without(prompts): return []
async def later(completions): return []
def needs(completions, name="x"): return []
def positional(completions, /): return []
class Nothing: pass
number = 3
"""
PROMPTS = [[{"role": "user", "content": text}] for text in ("what is red", "what is blue")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The directory of the command, with code and data."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "broken.py").write_text("import os\nimport no_such_module\n")
    (tmp_path / "unparsed.py").write_text("x = 1\ndef f(:\n")
    rows = [
        {"prompt": "what is red", "solution": "a colour"},
        {"prompt": "what is blue", "solution": "a mood"},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def composed(folder, monkeypatch, plugins):
    """`composed("reward=mine.py:score")`: a run's raw options, and plugins, as a command has."""
    monkeypatch.setattr(hydra_internals, "ConfigLoaderImpl", hydra_internals.ConfigLoaderImpl)

    def compose_words(*words):
        components = {group: dict(known) for group, known in plugins.components.items()}
        plugins_of_run = replace(plugins, components=components)
        own_parts = OwnParts(plugins_of_run)
        guard_configs(own_parts)
        fixed = ["run_name=x", f"run_dir={folder / 'run'}"]
        if not any(word.startswith("data=") for word in words):
            fixed += ["data=[files]", "data.files.prompts=p.jsonl"]
        overrides = own_parts.in_arguments([*fixed, *words])
        with initialize_config_module("rlhfkit_conf", version_base="1.3"):
            return compose("config", overrides), plugins_of_run

    return compose_words


@pytest.fixture
def context(composed):
    def make(*words):
        raw, plugins = composed(*words)
        config = OmegaConf.to_object(raw)
        check_options(config)
        return Context(config, plugins, RunDir(config.run_dir), "check")

    return make


def rewards(context, *completions):
    built = context.build_all("reward").items()
    return {name: reward(PROMPTS, list(completions), finished=[True] * 2) for name, reward in built}


def test_a_function_and_its_options(context):
    made = context("reward=[length,mine.py:score]", "reward.score.threshold=0.5")
    assert rewards(made, "", "red")["score"] == [0.0, 1.0]
    assert rewards(context("reward=./mine.py:score"), "a b c", "a b c d")["score"] == [0.0, 1.0]


def test_what_hydra_cannot_hold_is_no_option(context):
    assert context("reward=mine.py:score").config.reward["score"].option_names == ("threshold",)


def test_a_class_is_made_once_with_its_options(context):
    made = context("reward=mine.py:Bonus", "reward.Bonus.bonus=3", "reward.Bonus.weight=0.5")
    assert rewards(made, "a", "b") == {"Bonus": [3, 3]}
    assert made.config.reward["Bonus"].weight == 0.5


def test_columns_of_the_data(context):
    made = context("reward=mine.py:solved")
    assert rewards(made, "a colour", "a colour") == {"solved": [1.0, 0.0]}


def test_annotations_ask_for_texts_or_messages(context):
    assert rewards(context("reward=mine.py:texts"), "ab", "c") == {"texts": [13, 13]}


def test_a_module_of_this_directory(context, folder):
    (folder / "lib_of_mine").mkdir()
    (folder / "lib_of_mine" / "rewards.py").write_text("def one(completions): return [1, 1]\n")
    assert rewards(context("reward=lib_of_mine.rewards:one"), "a", "b") == {"one": [1, 1]}


def test_home_is_expanded_and_blanks_are_kept(context, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    (folder / "a b.py").write_text("def one(completions): return [1, 1]\n")
    assert rewards(context("reward=[~/a b.py:one]"), "a", "b") == {"one": [1, 1]}


def test_names_that_are_taken(context, folder):
    """By another component, by a function of another file, or by Hydra's grammar."""
    (folder / "v2.py").write_text(MINE)
    made = context("reward=[mine.py:score,v2.py:score,length,mine.py:length,mine.py:nan]")
    names = ["mine_score", "v2_score", "length", "mine_length", "mine_nan"]
    assert list(made.config.reward) == names


def test_a_labeler(context):
    made = context("labeler=mine.py:rank", "labeler.reverse=true")
    found = judgements_of(made.build("labeler"), PROMPTS, [["a", "bbb", "cc"], ["", "b"]])
    assert [[(one.ranks, one.labeler) for one in pool] for pool in found] == [
        [([3, 1, 2], "rank")], [([2, 1], "rank")],
    ]  # fmt: skip


def test_an_evaluator(context):
    made = context("evaluator=mine.py:length")
    ended = [Response([1], [0.0], True)] * 2
    samples = {
        who: PolicySamples(who, PROMPTS, texts, ended, [[1]] * 2, [0.0] * 2)
        for who, texts in {"sft": ["a", "b"], "rl": ["aaa", "a"]}.items()
    }  # fmt: skip
    found = made.build_all("evaluator")["length"].evaluate(samples)
    assert {who: metrics["length"].value for who, metrics in found.metrics.items()} == {
        "sft": 1, "rl": 2,
    }  # fmt: skip
    assert [row["length"] for row in found.rows] == [1, 1, 3, 1]


def test_a_data_source(context):
    source = context("data=mine.py:rows").build_all("data")["rows"]
    assert source.splits() == ("prompts",)
    assert source.load("prompts") == [{"prompt": "what is 0"}, {"prompt": "what is 1"}]
    more = context("data=mine.py:rows", "data.rows.count=3")
    assert source.fingerprint("prompts") != more.build_all("data")["rows"].fingerprint("prompts")


def test_the_record_holds_the_digest(composed, folder):
    def provider():
        runner = Runner(*composed("reward=mine.py:score"))
        return stage_settings(find_stage("rl"), runner.raw, runner.config, runner.plugins)[
            "provider of reward=score"
        ]

    first = provider()
    assert first.startswith("mine.py:score, sha256 ")
    assert provider() == first
    (folder / "mine.py").write_text(MINE + "# changed\n")
    assert provider() != first


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("reward=mine.py:scor", "mine.py:scor: nothing of this name there; did you mean 'score'"),
        ("reward=min.py:score", "min.py:score: no such file; did you mean 'mine.py'"),
        ("reward=no/mine.py:score", "no/mine.py:score: no such file; the folder "),
        ("reward=no_module:f", "no_module:f: no module 'no_module', here or installed"),
        ("reward=[length,mine.py]", "say which function of the file, as in mine.py:score or "),
        ("reward=broken.py:f", "broken.py:2: ModuleNotFoundError: No module named 'no_such_m"),
        ("reward=unparsed.py:f", "unparsed.py:2: SyntaxError: "),
        ("reward=mine.py:number", "mine.py:number: is of type int; name a function or a class"),
        ("reward=mine.py:without", "takes (prompts); it must take 'completions', by this name"),
        ("reward=mine.py:later", "mine.py:later: is async"),
        ("reward=mine.py:positional", "takes 'completions' by position only"),
        ("reward=mine.py:needs", "'name' is an option of every reward; rename it"),
        ("reward=mine.py:Nothing", "the class has no __call__()"),
        ("labeler=mine.py:Nothing", "the class has no rank(); it needs rank"),
        ("labeler=mine.py:solved", "nobody gives its 'solution'; given are completions, prompts"),
        ("data=mine.py:length", "nobody gives its 'completions'; with a default it is an option"),
        ("kl=mine.py:score", "kl=mine.py:score: only data, labeler, reward, evaluator take code"),
    ],
)
def test_mistakes_are_one_line(context, word, says):
    with pytest.raises(UserError) as error:
        context(word)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_option(context):
    with pytest.raises(Exception, match="thresold") as error:
        context("reward=mine.py:score", "reward.score.thresold=3")
    assert one_line(error.value).endswith("no such option; did you mean 'threshold'?")


def test_the_way_on_from_a_file_without_its_suffix(folder):
    error = MissingConfigException("", "reward/mine", ["length"])
    assert "reward=mine: no such choice; say which function of the file, as in mine.py:score" in (
        one_line(error)
    )


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("reward=function", "'function' has no code: name your own, as in reward=mine.py:score"),
        ("reward=mine.py:nan", "reward mine.py:nan: returned nan for completion 1 of 2"),
        ("reward=mine.py:short", "reward mine.py:short: returned 1 number for 2 completions"),
        ("evaluator=mine.py:short", "evaluator short: returned 1 number for 2 completions"),
        ("labeler=mine.py:nan", "labeler nan: gave Judgement(ranks=nan"),
    ],
)
def test_what_it_returns_is_looked_at_before_anything_is_trained(context, word, says):
    with pytest.raises(UserError) as error:
        try_user_code(context(word), {"reward", "labeler", "evaluator"})
    assert says in str(error.value)


def test_a_column_that_the_data_lacks(context, folder):
    (folder / "e.jsonl").write_text('{"prompt": "what is green"}\n')
    made = context("reward=mine.py:solved", "data.files.eval_prompts=e.jsonl")
    with pytest.raises(UserError, match="takes 'solution', and eval_prompts have no such column"):
        try_user_code(made, {"reward"})


def test_an_error_of_its_own_keeps_its_traceback(context, folder):
    with pytest.raises(ZeroDivisionError) as error:
        try_user_code(context("reward=[reward_model,mine.py:raising]"), {"reward"})
    line = 1 + MINE.splitlines().index("def raising(completions): return [1 / 0]")
    assert error.value.__notes__ == [
        f"(raised by reward=mine.py:raising, {folder / 'mine.py'}:{line})"
    ]


def recipe(folder, text):
    path = folder / "conf" / "recipe" / "passed_on.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"# @package _global_\n{text}\n")
    return f"hydra.searchpath=[file://{folder / 'conf'}]", "recipe=passed_on"


def test_yaml_runs_code_only_where_the_command_line_trusts_it(composed, folder):
    (folder / "mine.py").write_text(f"open({str(folder / 'mark')!r}, 'w')\n{MINE}")
    text = "defaults: [override /reward: [length, 'mine.py:score']]\ntrust: true"
    words = recipe(folder, text)
    for more in ((), ("trust=false",)):
        with pytest.raises(UserError, match=r"recipe/passed_on: reward=mine.py:score is code"):
            composed(*words, *more)
    assert not (folder / "mark").exists()
    raw, _ = composed(*words, "trust=true", "reward.score.threshold=1")
    assert raw.reward.score.threshold == 1
    assert list(raw.reward) == ["length", "score"]


def test_yaml_does_not_trust_itself(composed, folder):
    with pytest.raises(UserError, match="trust=true: not from a file; read the code that it"):
        composed(*recipe(folder, "trust: true"))


def test_options_have_types(composed):
    with pytest.raises(Exception, match="threshold") as error:
        composed("reward=mine.py:score", "reward.score.threshold=many")
    assert isinstance(error.value.__cause__, OmegaConfBaseException)
