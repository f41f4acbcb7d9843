"""Gradient checkpointing: the same gradients, layers computed twice, caches untouched."""

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhfkit.errors import UserError
from rlhfkit.models import checkpointing
from rlhfkit.models.checkpointing import checkpoint_layers
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig
from rlhfkit_plugins.samplers.cached import CachedSampler
from tests.plugins.loaders.conftest import perturb, trained
from tests.plugins.loaders.test_roles import BATCH, LOADERS

__all__ = ["trained"]


def gradients(roles):
    """Of the policy and of the value model, each after the other's pass: the active adapter at the
    time of the backward pass must be the right one."""
    found = []
    for model, loss in (
        (roles.policy, lambda: roles.policy.response_logprobs(BATCH)[0].sum()),
        (roles.value, lambda: roles.value.values(BATCH).sum()),
        (roles.policy, lambda: roles.policy.response_logprobs(BATCH, 0.7)[0].sum()),
    ):
        parameters = model.trainable_parameters()
        found += torch.autograd.grad(loss(), parameters, allow_unused=True)
    return found


@pytest.fixture
def roles(trained, request):
    """Roles whose adapters differ and, being perturbed, all have gradients."""
    context, sft, reward, _ = trained(request.param)
    made = context.build("loader").roles(sft, reward)
    perturb(made.policy.trainable_parameters(), 3)
    return made


@pytest.mark.parametrize("roles", LOADERS, indirect=True)
def test_gradients_are_the_same_and_layers_are_computed_twice(roles):
    plain = gradients(roles)
    calls = []
    layer = next(
        item for item in roles.policy.body.modules() if isinstance(item, GradientCheckpointingLayer)
    )
    layer.input_layernorm.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        unchecked = roles.policy.response_logprobs(BATCH)[0]
    assert len(calls) == 1
    roles.policy.checkpoint_activations()
    roles.value.language_model.checkpoint_activations()
    del calls[:]
    with torch.no_grad():
        torch.testing.assert_close(roles.policy.response_logprobs(BATCH)[0], unchecked)
    assert len(calls) == 1, "nothing is computed twice where no gradients are taken"
    del calls[:]
    roles.policy.response_logprobs(BATCH)[0].sum().backward()
    assert len(calls) == 2
    for one, other in zip(plain, gradients(roles), strict=True):
        if one is None:
            assert other is None
            continue
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("roles", ["lora"], indirect=True)
def test_inputs_of_layers_that_waited_in_main_memory_are_the_same_bits(roles, monkeypatch):
    policy, copied = roles.policy, []
    policy.checkpoint_activations()
    policy.response_logprobs(BATCH)[0].sum().backward()
    plain = [each.grad.clone() for each in policy.trainable_parameters()]
    policy.model.zero_grad()

    def noted(states, offload=checkpointing._to_main_memory):
        copied.append(tuple(states.shape))
        return offload(states)

    monkeypatch.setattr(checkpointing, "_to_main_memory", noted)
    for layer in policy.body.layers:
        layer.forward = layer.forward._forward
    policy.checkpoint_activations(offload=True)
    policy.response_logprobs(BATCH)[0].sum().backward()
    assert copied == [(2, 5, policy.hidden_size)] * len(policy.body.layers)
    assert all(map(torch.equal, plain, [each.grad for each in policy.trainable_parameters()]))


@pytest.mark.parametrize("roles", ["lora"], indirect=True)
def test_samples_are_the_same_and_nothing_is_checkpointed(roles, monkeypatch):
    def sample():
        sampler = CachedSampler(CachedConfig(response_length=5))
        return sampler.sample(
            roles.policy, [[5, 6], [7]], Ends((2,)), torch.Generator().manual_seed(0)
        )

    before = sample()
    roles.policy.checkpoint_activations()
    monkeypatch.delattr(checkpointing, "checkpoint")
    assert sample() == before


def test_a_model_without_such_layers_is_refused():
    with pytest.raises(UserError, match=r"gradient_checkpointing=true: Linear has no layers"):
        checkpoint_layers(torch.nn.Linear(2, 2))


def test_every_stage_trains_the_same(run_tiny, tiny_files, tmp_path):
    """From SFT to PPO, with the option and without."""
    stages = ("sft", "reward_model", "rl")

    def train(name, checkpointing):
        runner = run_tiny(
            "loader=qlora", f"run_dir={tmp_path / name}", "labeler=imported",
            f"data.files.rankings={tiny_files['rankings']}", "stages=[sft,label,reward_model,rl]",
            *(f"stage.{stage}.gradient_checkpointing={checkpointing}" for stage in stages),
        )  # fmt: skip
        return [read_jsonl(runner.run_dir.stage_dir(stage) / "metrics.jsonl") for stage in stages]

    for one, other in zip(train("a", False), train("b", True), strict=True):
        assert len(one) == len(other) > 0
        for row, same in zip(one, other, strict=True):
            for name in [name for name in row if "loss" in name or "objective" in name]:
                assert same[name] == pytest.approx(row[name], rel=1e-3, abs=1e-5), name
