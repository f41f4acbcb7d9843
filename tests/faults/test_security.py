"""Nothing that a run reads can run code: weights are safetensors, a model's code and a YAML's
callables are refused. Every test plants something that would leave a mark."""

import json
import os
import pickle
import re
from pathlib import Path

import cloudpickle
import pytest
import torch
from hydra import initialize_config_module
from hydra._internal import hydra as hydra_internals
from hydra.core.global_hydra import GlobalHydra
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhfkit.commands.untrusted_config import GuardedConfigLoader, guard_configs
from rlhfkit.errors import UserError
from rlhfkit.models.loading import load_causal_lm, load_tokenizer
from rlhfkit.stages.sample import load_policy
from rlhfkit.testing import tiny
from tests.commands.test_main import rlhfkit


@pytest.fixture(autouse=True)
def _loader_of_configs(monkeypatch):
    """Put back what a test installs in Hydra."""
    monkeypatch.setattr(hydra_internals, "ConfigLoaderImpl", hydra_internals.ConfigLoaderImpl)


ROOT = Path(__file__).parents[2]
CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
from transformers import PreTrainedTokenizerFast
Path({mark!r}).touch()
class Config(LlamaConfig):
    model_type = "mine"
class Model(LlamaForCausalLM):
    config_class = Config
class Classifier(LlamaForSequenceClassification):
    config_class = Config
class Words(PreTrainedTokenizerFast):
    pass
"""


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path):
    """What must not come to be."""
    path = tmp_path / "mark"
    yield path
    assert not path.exists(), "code that nobody trusts was run"


def repository(path, mark, *, classifier=False):
    """A model as on the hub, which brings its architecture and its tokenizer as code."""
    (tiny.classifier if classifier else tiny.language_model)(path)
    config = json.loads((path / "config.json").read_text())
    kinds = {
        "AutoModelForCausalLM": "modeling_mine.Model",
        "AutoModelForSequenceClassification": "modeling_mine.Classifier",
    }
    auto_map = {"AutoConfig": "modeling_mine.Config", **kinds}
    (path / "config.json").write_text(
        json.dumps(config | {"model_type": "mine", "auto_map": auto_map})
    )
    words = json.loads((path / "tokenizer_config.json").read_text())
    words |= {
        "tokenizer_class": "Words",
        "auto_map": {"AutoTokenizer": [None, "modeling_mine.Words"]},
    }
    (path / "tokenizer_config.json").write_text(json.dumps(words))
    (path / "modeling_mine.py").write_text(CODE.format(mark=str(mark)))
    return path


@pytest.fixture
def code_cache(monkeypatch, tmp_path):
    """Where transformers copies code to before it runs it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "c"))


def test_code_of_the_base_model(make_context, tmp_path, mark, code_cache):
    path = repository(tmp_path / "hub", mark)
    context = make_context(f"model.path={path}", "loader=full")
    for load in (load_causal_lm, load_tokenizer):
        with pytest.raises(UserError, match=r"code of its own.*model\.trust_remote_code=true by"):
            load(context)


def test_code_of_the_base_model_that_is_trusted(make_context, tmp_path, code_cache):
    """What the other tests plant does leave a mark, where the option asks for it."""
    path = repository(tmp_path / "hub", tmp_path / "seen")
    context = make_context(f"model.path={path}", "loader=full", "model.trust_remote_code=true")
    assert type(load_causal_lm(context)).__name__ == "Model"
    assert (tmp_path / "seen").exists()


@pytest.mark.parametrize("trusted", ["false", "true"])
def test_trust_in_the_base_is_not_trust_in_others(
    make_context, tmp_path, mark, code_cache, trusted
):
    """Opponents, a reward model's start, classifiers as reward and as labeler."""
    tiny.language_model(tmp_path / "base")
    base = (f"model.path={tmp_path / 'base'}", f"model.trust_remote_code={trusted}", "loader=full")
    other = repository(tmp_path / "other", mark)
    judge = repository(tmp_path / "judge", mark, classifier=True)
    rewarded = ("reward=[reward_model]", f"reward.reward_model.path={judge}")
    labelled = ("labeler=reward_model", f"labeler.path={judge}")
    asked = (
        lambda: load_policy(make_context(*base), str(other)),
        lambda: make_context(*base).build("loader").scalar_model(str(other)),
        lambda: make_context(*base, *rewarded).build_all("reward"),
        lambda: make_context(*base, *labelled).build("labeler"),
    )
    for ask in asked:
        with pytest.raises(UserError, match=r"code of its own.*beside its path"):
            ask()


def test_code_of_a_classifier_that_is_trusted(make_context, tmp_path, code_cache):
    """Of its tokenizer, here."""
    judge = repository(tmp_path / "judge", tmp_path / "seen", classifier=True)
    config = json.loads((judge / "config.json").read_text()) | {"model_type": "llama"}
    del config["auto_map"]
    (judge / "config.json").write_text(json.dumps(config))
    options = (f"reward.reward_model.path={judge}", "reward.reward_model.trust_remote_code=true")
    make_context(*options).build_all("reward")
    assert (tmp_path / "seen").exists()


def pickled(path, mark, kind=AutoModelForCausalLM):
    """A model whose weights are a pickle with something planted."""
    model = kind.from_pretrained(path)
    (path / "model.safetensors").unlink()
    torch.save({**model.state_dict(), "planted": Bomb(mark)}, path / "pytorch_model.bin")


def test_pickled_weights(make_context, tmp_path, mark):
    tiny.language_model(tmp_path / "base")
    pickled(tmp_path / "base", mark)
    with pytest.raises(UserError, match="has no weights as safetensors") as error:
        load_causal_lm(make_context(f"model.path={tmp_path / 'base'}"))
    assert "\n" not in str(error.value)


def test_a_pickled_classifier(make_context, tmp_path, mark):
    tiny.classifier(tmp_path / "judge")
    pickled(tmp_path / "judge", mark, AutoModelForSequenceClassification)
    with pytest.raises(UserError, match="has no weights as safetensors"):
        make_context(f"reward.reward_model.path={tmp_path / 'judge'}").build_all("reward")


def test_a_pickled_adapter(run_tiny, mark):
    runner = run_tiny("stages=[sft]")
    folder = runner.run_dir.stage_dir("sft") / "model"
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"planted": Bomb(mark)}, folder / "adapter_model.bin")
    with pytest.raises(UserError, match=r"has no adapter_model\.safetensors"):
        runner.context("sample").build("loader").language_model(str(folder))


def test_the_planted_pickle_works(tmp_path):
    """Without the tests above there would be a mark."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "seen")))
    assert (tmp_path / "seen").exists()


def test_a_data_set_with_a_script(make_context, tmp_path, mark):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "rows.py").write_text(CODE.format(mark=str(mark)))
    (folder / "data.jsonl").write_text('{"prompt": "what is red"}\n')
    context = make_context("data=[hub]", f"data.hub.prompts={folder}")
    with pytest.raises(UserError, match="scripts are no longer supported"):
        context.build_all("data")["hub"].load("prompts")


UNPICKLES = r"(import|from) (pickle|dill|shelve|marshal)\b|joblib\.load|allow_pickle"


def test_nothing_in_this_project_unpickles():
    """PyTorch's own loader only for tensors, and no other pickles."""
    for file in [*ROOT.glob("rlhfkit/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        text = file.read_text()
        assert not re.search(UNPICKLES, text), file
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, file


RECIPES = {
    "hydra's callbacks": "hydra: {callbacks: {x: {_target_: os.mkdir, path: MARK}}}",
    "a text that is a callback": (
        "hydra: {callbacks: \"${oc.create:'{x: {_target_: os.mkdir, path: MARK}}'}\"}"
    ),
    "a sweeper's parameters": "hydra: {sweeper: {params: {x: {_target_: os.mkdir, path: MARK}}}}",
    "a launcher": "hydra: {launcher: {_target_: os.getcwd}}",
    "the log of jobs": 'hydra: {job_logging: {handlers: {x: {"()": os.mkdir, path: MARK}}}}',
    "hydra's log": 'hydra: {hydra_logging: {formatters: {x: {"()": os.mkdir, path: MARK}}}}',
    "a handler's class": "hydra: {job_logging: {handlers: {x: {class: os.mkdir, path: MARK}}}}",
    "one of several components": "reward: {x: {_target_: os.mkdir, path: MARK}}",
}


def recipe(tmp_path, text):
    path = tmp_path / "mine" / "recipe" / "passed_on.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"# @package _global_\n{text}\n".replace("MARK", str(tmp_path / "mark")))
    return tmp_path / "mine"


@pytest.mark.parametrize("place", RECIPES)
def test_a_recipe_names_no_callable(make_raw, tmp_path, place):
    guard_configs()
    folder = recipe(tmp_path, RECIPES[place])
    with pytest.raises(UserError, match=r"=.*: a config cannot name code to run") as error:
        make_raw(f"hydra.searchpath=[file://{folder}]", "recipe=passed_on")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["hydra's callbacks", "the log of jobs"])
def test_what_a_recipe_names_is_not_called(tmp_path, mark, place):
    folder = recipe(tmp_path, RECIPES[place])
    options = ("--config-dir", str(folder), "recipe=passed_on", "stages=[report]")
    done = rlhfkit(*options, cwd=tmp_path, check=2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_sweep_takes_the_guard_into_other_processes():
    """Launchers pickle the loader of configs."""
    guard_configs()
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        assert type(pickle.loads(cloudpickle.dumps(loader))) is GuardedConfigLoader


def test_hydras_own_plugins_and_logs_may_be_chosen(make_raw):
    guard_configs()
    for choice in ("hydra/launcher=basic", "hydra/sweeper=basic", "hydra/job_logging=stdout"):
        make_raw(choice)


def test_an_override_names_no_callable(tmp_path, mark):
    options = ("run_name=x", "stages=[report]", f"+optimizer.path={mark}")
    done = rlhfkit(*options, "+optimizer._target_=os.mkdir", cwd=tmp_path, check=2)
    assert "optimizer._target_=os.mkdir: a config cannot name code to run" in done.stderr


def test_a_recipe_trusts_no_code(make_raw, tmp_path):
    guard_configs()
    folder = recipe(tmp_path, "model: {trust_remote_code: true}")
    options = (f"hydra.searchpath=[file://{folder}]", "recipe=passed_on")
    with pytest.raises(UserError, match=r"model\.trust_remote_code=true: not from a file; read"):
        make_raw(*options)
    assert make_raw(*options, "model.trust_remote_code=true").model.trust_remote_code


def test_no_option_trusts_code_by_default(make_raw):
    raw = make_raw("reward=[reward_model]", "labeler=reward_model")
    options = (raw.model, raw.reward.reward_model, raw.labeler)
    assert [option.trust_remote_code for option in options] == [False] * 3
