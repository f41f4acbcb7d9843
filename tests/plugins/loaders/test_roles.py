"""What the loaders give: roles that start as they must, shared or apart with the same numbers."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from rlhfkit import hookimpl
from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import HEAD_FILE, ScalarModel, fresh_head
from rlhfkit_plugins.loaders.targets import target_modules
from tests import tiny
from tests.plugins.loaders.conftest import perturb

BATCH = make_batch([[5, 6], [7, 8, 9]], [[10, 11, 2], [12, 2]])


LOADERS = ["full", "lora", "qlora"]


@pytest.mark.parametrize("loader", LOADERS)
@torch.no_grad()
def test_roles_start_where_they_must(trained, loader):
    context, sft, reward, _ = trained(loader)
    built = context.build("loader")
    roles = built.roles(sft, reward)
    base = built.language_model(None).response_logprobs(BATCH)[0]
    policy = roles.policy.response_logprobs(BATCH)[0]
    reference = roles.reference.response_logprobs(BATCH)[0]
    torch.testing.assert_close(policy, reference, rtol=0, atol=0)
    assert (reference - base).abs().max() > 0.01, "the reference is the SFT model, not the base"
    values, scores = roles.value.values(BATCH), roles.reward.scores(BATCH)
    assert values.abs().max() > 0
    last = roles.value.scores(BATCH)
    torch.testing.assert_close(last, scores, rtol=0, atol=0)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("loader", LOADERS)
def test_models_share_prompts_as_the_run_says(trained, loader, share):
    context, sft, reward, _ = trained(loader)
    context.config.model.share_prompts = share
    built = context.build("loader")
    roles = built.roles(sft, reward)
    models = [roles.policy, roles.reference, roles.value.language_model, built.language_model(sft)]
    assert [model.share_prompts for model in models] == [share] * 4


@pytest.mark.parametrize("loader", LOADERS)
@torch.no_grad()
def test_shared_roles_give_the_numbers_of_separate_models(trained, loader):
    context, sft, reward, _ = trained(loader)
    built = context.build("loader")
    roles = built.roles(sft, reward)
    exact = {"rtol": 1e-4, "atol": 2e-5}  # a frozen adapter alone is merged: other rounding
    alone = built.language_model(sft).response_logprobs(BATCH)[0]
    torch.testing.assert_close(roles.policy.response_logprobs(BATCH)[0], alone, **exact)
    torch.testing.assert_close(roles.reference.response_logprobs(BATCH)[0], alone, **exact)
    scores = built.scalar_model(reward).scores(BATCH)
    torch.testing.assert_close(roles.reward.scores(BATCH), scores, **exact)


@pytest.mark.parametrize("loader", LOADERS)
def test_training_one_role_leaves_the_others_alone(trained, loader):
    context, sft, reward, _ = trained(loader)
    roles = context.build("loader").roles(sft, reward)
    with torch.no_grad():
        before = [
            roles.reference.response_logprobs(BATCH)[0],
            roles.value.values(BATCH),
            roles.reward.scores(BATCH),
            roles.policy.response_logprobs(BATCH)[0],
        ]
    perturb(roles.policy.trainable_parameters(), 3)
    with torch.no_grad():
        after = [
            roles.reference.response_logprobs(BATCH)[0],
            roles.value.values(BATCH),
            roles.reward.scores(BATCH),
            roles.policy.response_logprobs(BATCH)[0],
        ]
    for old, new in zip(before[:3], after[:3], strict=True):
        assert torch.equal(old, new)
    assert (before[3] - after[3]).abs().max() > 0.01
    perturb(roles.value.trainable_parameters(), 4)
    with torch.no_grad():
        assert torch.equal(roles.reward.scores(BATCH), before[2])
        assert torch.equal(roles.policy.response_logprobs(BATCH)[0], after[3])
        assert (roles.value.values(BATCH) - before[1]).abs().max() > 0.01


@pytest.mark.parametrize("loader", LOADERS)
def test_gradients_reach_every_layer_also_after_a_pass_without(trained, loader):
    """bitsandbytes on some CPUs repacks weights in evaluation and loses gradients."""
    context, sft, reward, _ = trained(loader)
    roles = context.build("loader").roles(sft, reward)

    def gradients():
        parameters = roles.policy.trainable_parameters()
        loss = roles.policy.response_logprobs(BATCH)[0].sum()
        return torch.autograd.grad(loss, parameters, allow_unused=loader == "full")

    first = gradients()
    with torch.no_grad():
        roles.policy.response_logprobs(BATCH)
    second = gradients()
    for one, other in zip(first, second, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    if loader != "full":
        assert all(item.abs().max() > 0 for item in second)


@pytest.mark.parametrize("loader", LOADERS)
@torch.no_grad()
def test_the_policy_round_trips(trained, loader, tmp_path):
    context, sft, reward, _ = trained(loader)
    built = context.build("loader")
    roles = built.roles(sft, reward)
    perturb(roles.policy.trainable_parameters(), 5)
    expected = roles.policy.response_logprobs(BATCH)[0]
    roles.policy.save(tmp_path / "rl")
    again = built.language_model(str(tmp_path / "rl")).response_logprobs(BATCH)[0]
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("loader", ["lora", "qlora"])
@torch.no_grad()
def test_dropout_is_off_in_rl(trained, loader):
    """Else the policy would differ from the one that sampled before any update."""
    context, sft, reward, _ = trained(loader, "loader.lora_dropout=0.5")
    for roles in (context.build("loader").roles(sft, path) for path in (reward, None)):
        policy = roles.policy.response_logprobs(BATCH)[0]
        assert torch.equal(policy, roles.reference.response_logprobs(BATCH)[0])
        assert torch.equal(roles.value.scores(BATCH), roles.value.scores(BATCH))


def test_without_reward_model_the_value_starts_from_sft(trained):
    context, sft, _, _ = trained("lora")
    roles = context.build("loader").roles(sft, None)
    assert roles.reward is None
    assert roles.value.head.weight.abs().max() > 0


@torch.no_grad()
def test_without_sft_the_policy_starts_from_the_base(trained):
    context, *_ = trained("lora")
    built = context.build("loader")
    roles = built.roles(None, None)
    base = built.language_model(None).response_logprobs(BATCH)[0]
    torch.testing.assert_close(roles.policy.response_logprobs(BATCH)[0], base, rtol=0, atol=0)
    torch.testing.assert_close(roles.reference.response_logprobs(BATCH)[0], base, rtol=0, atol=0)


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


@pytest.mark.parametrize(("path", "says"), [("no/such-model", "model 'no/such-model' cannot be")])
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
