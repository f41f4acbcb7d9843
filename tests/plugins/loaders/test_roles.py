"""What the loaders give: roles that start as they must, shared or apart with the same numbers."""

import json
import shutil
from types import SimpleNamespace

import pytest
from torch import nn
from transformers import LlamaForCausalLM

from rlhfkit import hookimpl
from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import HEAD_FILE, ScalarModel, fresh_head
from rlhfkit.testing import tiny
from rlhfkit_plugins.loaders.targets import target_modules

BATCH = make_batch([[5, 6], [7, 8, 9]], [[10, 11, 2], [12, 2]])


LOADERS = ["full", "lora", "qlora"]


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("loader", LOADERS)
def test_models_share_prompts_as_the_run_says(trained, loader, share):
    context, sft, reward, _ = trained(loader)
    context.config.model.share_prompts = share
    built = context.build("loader")
    roles = built.roles(sft, reward)
    models = [roles.policy, roles.reference, roles.value.language_model, built.language_model(sft)]
    assert [model.share_prompts for model in models] == [share] * 4


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_an_adapter_for_another_base_is_refused(trained, make_context, tmp_path, loader):
    _, sft, reward, _ = trained(loader)
    tiny.language_model(tmp_path / "other", hidden_size=64, intermediate_size=64, seed=8)
    context = make_context(f"loader={loader}", f"model.path={tmp_path / 'other'}")
    with pytest.raises(UserError, match=r"an adapter for .*base, but model.path="):
        context.build("loader").roles(sft, reward)


@pytest.mark.parametrize("loader", ["lora", "qlora"])
@pytest.mark.parametrize("shape", [{"hidden_size": 128}, {"num_hidden_layers": 3}], ids=str)
def test_an_adapter_for_a_base_of_another_shape_is_refused(trained, loader, shape):
    """The name is right, but the model behind it is another one than when the adapter was made."""
    context, sft, reward, base = trained(loader)
    shutil.rmtree(base)
    tiny.language_model(base, **{"hidden_size": 64, "intermediate_size": 64, **shape})
    with pytest.raises(UserError, match=r"sft: the adapter does not fit .*: layers or widths"):
        context.build("loader").roles(sft, reward)
    with pytest.raises(UserError, match=r"reward: the adapter does not fit"):
        context.build("loader").scalar_model(reward)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_head_of_another_width_is_refused(trained, loader, tmp_path):
    context, sft, reward, _ = trained(loader)
    body = LanguageModel(LlamaForCausalLM(tiny.config(hidden_size=32)))
    ScalarModel(body, fresh_head(32)).save(tmp_path / "narrow")
    shutil.copy(tmp_path / "narrow" / HEAD_FILE, reward)
    built = context.build("loader")
    for load in (lambda: built.roles(sft, reward), lambda: built.scalar_model(reward)):
        with pytest.raises(UserError, match="head of width 32, but the model's hidden size is 64"):
            load()


@pytest.mark.parametrize("loader", LOADERS)
def test_a_model_whose_code_must_be_trusted(trained, loader):
    context, *_, base = trained(loader)
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {
        "AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"
    }}  # fmt: skip
    (base / "config.json").write_text(json.dumps(config))
    (base / "mine.py").write_text("raise AssertionError('code that nobody trusts was run')")
    with pytest.raises(UserError, match=r"brings code of its own; .*set model.trust_remote_code"):
        context.build("loader").language_model(None)


@pytest.mark.parametrize("loader", ["lora", "qlora"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("q_prj", r"has no linear layer 'q_prj' that .*; did you mean 'q_proj'"),
        ("lm_head", r"has no linear layer 'lm_head' that an adapter could go on"),
        ("embed_tokens", r"has no linear layer 'embed_tokens'"),
    ],
)
def test_target_modules_that_are_not_there(trained, loader, name, says):
    with pytest.raises(UserError, match=r"loader.lora_target_modules: .*base " + says):
        trained(loader, f"loader.lora_target_modules=[q_proj,{name}]")


def test_a_head_in_4_bits_is_refused(trained):
    with pytest.raises(UserError, match=r"loader\.skip_modules: must have 'lm_head', the LM head"):
        trained("qlora", "loader.skip_modules=[v_proj]")


def test_a_model_without_linear_layers_takes_no_adapter():
    base = nn.Module()
    base.name_or_path, base.head = "me/mine", nn.Linear(4, 7)
    base.get_output_embeddings = lambda: base.head
    with pytest.raises(UserError, match=r"me/mine: the model has no linear layer that"):
        target_modules(base, None)


@pytest.mark.parametrize(
    ("path", "says"), [("no/such-model", "model 'no/such-model' is not on this machine")]
)
def test_a_model_that_is_not_there(make_context, path, says):
    with pytest.raises(UserError, match=says):
        make_context(f"model.path={path}").build("loader").language_model(None)


def test_adapters_record_their_base_by_name(plugins, make_context, tmp_path):
    """A plugin may resolve the name to a folder; the adapter must fit the name all the same."""
    tiny.language_model(tmp_path / "cache", hidden_size=64, intermediate_size=64)
    known = hookimpl(lambda path: str(tmp_path / "cache") if path == "me/mine" else None)
    registered = plugins.manager.register(SimpleNamespace(resolve_model=known))
    try:
        built = make_context("model.path=me/mine").build("loader")
        built.language_model(None, trainable=True).save(tmp_path / "sft")
        built.language_model(str(tmp_path / "sft"))
    finally:
        plugins.manager.unregister(name=registered)
    stored = json.loads((tmp_path / "sft" / "adapter_config.json").read_text())
    assert stored["base_model_name_or_path"] == "me/mine"
