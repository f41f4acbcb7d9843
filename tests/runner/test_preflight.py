"""Values outside their meaning are told before anything is trained."""

import math
import re
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import get_args, get_type_hints

import pytest

from rlhfkit.commands.hydra_app import _perform
from rlhfkit.component import GROUPS
from rlhfkit.config.online import KL_ESTIMATORS
from rlhfkit.config.run import DTYPES, RunConfig
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import load_plugins
from rlhfkit.rl.kl import ESTIMATORS
from rlhfkit.runner.preflight import check_options
from rlhfkit.runner.runner import Runner
from rlhfkit.validators import require_above_zero

EVERY_STAGE = "stages=[sft,sample,label,reward_model,rl]"

ANY_NUMBER = {
    "weight": "of a reward: below 0 it punishes",
}
"""Numeric options that may be negative, and why; of a weight NaN and infinity are refused."""


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["optimizer.cliprange=-0.2"], "optimizer.cliprange=-0.2: must be a finite number above"),
        (["optimizer.lam=1.5"], "optimizer.lam=1.5: must be from 0 to 1"),
        (["optimizer.ema_decay=1"], "optimizer.ema_decay=1.0: must be at least 0 and below 1"),
        (["stage.sft.learning_rate=-1"], "stage.sft.learning_rate=-1.0: must be .* not negative"),
        (["stage.rl.batch_size=0"], "stage.rl.batch_size=0: must be a finite number above 0"),
        (["stage.rl_sft.select_by=rewrd"], "did you mean 'reward'"),
        (["stage.rl.use_score_norm=true"], "needs stage.rl.use_score_scaling=true"),
        (["optimizer.lr_scheduler_type=linaer"], "did you mean 'linear'"),
        (["sampler.temperature=0"], "sampler.temperature=0.0: must be a finite number above 0"),
        (["labeler.labelers=[simulated-warn]"], "labelers: .*did you mean 'simulated-warm'"),
        (["reward=[length]", "reward.length.slope=-1"], "reward.length.slope=-1: must be"),
        (["reward=[length]", "reward.length.weight=nan"], "reward.length.weight=nan: must be"),
        (["model.dtype=float8"], "model.dtype=float8: did you mean"),
        (["eval_fraction=1"], "^eval_fraction=1.0: must be at least 0 and below 1"),
        (["stage.prepare.labeler_share.prompts=2"], "labeler_share.prompts=2.0: must be"),
        (["stage.sample.models=[]"], r"stage.sample.models=\[\]: between 1 and 3 models"),
        (
            ["stage.reward_model.min_lr_rate=0.1", "stage.reward_model.lr_scheduler_type=linear"],
            "stage.reward_model.min_lr_rate=0.1: needs .*=cosine, not linear",
        ),
        (
            ["stage.reward_model.start=larger"],
            "stage.reward_model.start=larger: another base than .* needs loader=full",
        ),
        (["optimizer.kl_estimator=k4"], "optimizer.kl_estimator=k4: did you mean 'k3' or"),
        (["optimizer.kl_in_loss=true"], "optimizer.kl_estimator=k1: .* take k2 or k3"),
        (
            ["optimizer.ptx_coef=27.8", "data.files.pretraining=null"],
            "optimizer.ptx_coef=27.8 needs pretraining texts",
        ),
        (
            ["data.files.pretraining=null", "stages=[sft,rl_sft]"],
            "stage.rl_sft.pretraining_fraction=0.1 needs pretraining texts",
        ),
        (["pretraining_eval_fraction=1"], "pretraining_eval_fraction=1.0: must be at least 0"),
        (
            ["evaluator=[win_rate,policy_statistics,pretraining_loss]"],
            "evaluator=pretraining_loss needs texts that nothing is trained on",
        ),
        (
            ["pretraining_eval_fraction=0.5", "data.files.pretraining=null",
             "stages=[sft,evaluate]"],
            "pretraining_eval_fraction=0.5 needs pretraining texts",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_nothing_is_trained_before_it_is_told(plugins, make_raw, tiny_overrides, overrides, says):
    runner = Runner(make_raw(*tiny_overrides, EVERY_STAGE, *overrides), plugins)
    with pytest.raises(UserError, match=says) as error:
        runner.run()
    assert "\n" not in str(error.value)
    assert not list(runner.run_dir.root.glob("[!.]*"))


def test_nothing_is_planned_before_it_is_told(make_raw, plugins, tiny_overrides):
    runner = Runner(make_raw(*tiny_overrides, "sampler.batch_size=0"), plugins)
    with pytest.raises(UserError, match=r"sampler\.batch_size=0: must be"):
        _perform("plan", runner)


def configs():
    """Every dataclass of options by its name in the run's: the core's, and the components'."""
    yield from _with_parts("", RunConfig)
    for group in GROUPS:
        for name, provided in load_plugins().components[group.name].items():
            yield from _with_parts(f"{group.name}.{name}", group.schema(provided.component))


def _with_parts(name, kind):
    yield name, kind
    for item in fields(kind):
        if is_dataclass(item.type):
            yield from _with_parts(f"{name}.{item.name}".lstrip("."), item.type)


def numbers(kind):
    """Names and types, int or float, of a dataclass's numeric options."""
    for name, hint in get_type_hints(kind).items():
        for one in get_args(hint) if isinstance(hint, UnionType) else (hint,):
            if one in (int, float):
                yield name, one


CASES = [
    pytest.param(name, kind, option, value, id=f"{name}.{option}={value}")
    for name, kind in configs()
    for option, number in numbers(kind)
    for value in ([math.nan, -1.5, math.inf] if number is float else [-1])
    if option not in ANY_NUMBER or not math.isfinite(value)
]


@pytest.mark.parametrize(("name", "kind", "option", "value"), CASES)
def test_every_number_is_under_a_rule(name, kind, option, value):
    config = kind()
    setattr(config, option, value)
    if option == "weight":  # the group's own, which the run checks
        config, name = RunConfig(reward={"x": config}), ""
        option = "reward.x.weight"
    with pytest.raises(UserError, match=re.escape(f"{name}.{option}={value}".lstrip("."))):
        check_options(config, name)


def test_every_number_that_is_excepted_is_one():
    known = {option for _, kind in configs() for option, _ in numbers(kind)}
    assert set(ANY_NUMBER) <= known


def test_defaults_hold():
    for name, kind in configs():
        if name != "sampler.server":  # its server's model has no default
            check_options(kind(), name)


@dataclass
class TheirOwn:
    """As a plugin writes it."""

    words: int = 0

    def check(self, name: str) -> None:
        require_above_zero(name, self, "words")


def test_a_plugins_config_is_asked_where_it_stands():
    with pytest.raises(UserError, match=r"^kl\.words=0: must be a finite number above 0$"):
        check_options(RunConfig(kl=TheirOwn()))
    with pytest.raises(UserError, match=r"^reward\.theirs\.words=0: must be"):
        check_options({"theirs": TheirOwn()}, "reward")
    check_options(RunConfig(kl=TheirOwn(words=1)))


def test_words_are_those_of_the_modules_that_import_torch():
    import torch

    assert KL_ESTIMATORS == ESTIMATORS
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in DTYPES)


def test_an_optimizer_without_a_pretraining_mix_needs_no_texts(run_tiny):
    run_tiny("optimizer=dpo", "data.files.pretraining=null", "stages=[sft]")
