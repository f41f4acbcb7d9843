"""Four adapters on one base compute what four models of their own compute."""

import pytest
import torch

from rlhfkit.rl.losses import clipped_value_loss, ppo_policy_loss
from rlhfkit_plugins.optimizers import PpoConfig
from rlhfkit_plugins.optimizers.ppo import PPO
from tests.plugins.loaders import separate
from tests.plugins.loaders.conftest import perturb
from tests.plugins.optimizers.ppo_steps import CONFIG, TEMPERATURE, make, make_rollout

EXACT = {"rtol": 1e-6, "atol": 1e-7}
RATES = {"learning_rate": 0.01, "value_learning_rate": 0.005}


@pytest.fixture(params=["lora", "qlora"])
def both(trained, request):
    """Roles on one base and roles apart, with the same numbers and all four different."""
    run = trained(request.param)
    shared = run.context.build("loader").roles(run.sft, run.reward)
    apart = separate.roles(run.base, run.sft, run.reward, request.param)
    for roles in (shared, apart):
        perturb(roles.policy.trainable_parameters(), 3)
        perturb(roles.value.trainable_parameters(), 4)
    return shared, apart


def named(role):
    """Trainable parameters by name, whatever the adapter is called; a head's are `head.*`."""
    body = getattr(role, "language_model", role)
    body.activate()
    found = {
        name.replace(f".{body.adapter}.", "."): parameter
        for name, parameter in body.model.named_parameters()
        if parameter.requires_grad
    }
    if body is not role:
        found |= {f"head.{name}": item for name, item in role.head.named_parameters()}
    return found


def assert_same(shared, apart):
    assert shared.keys() == apart.keys()
    for name, value in shared.items():
        torch.testing.assert_close(value, apart[name], **EXACT, msg=lambda text, n=name: n + text)


def numbers(roles, batch):
    return {
        "policy": roles.policy.response_logprobs(batch, TEMPERATURE)[0],
        "reference": roles.reference.response_logprobs(batch, TEMPERATURE)[0],
        "values": roles.value.values(batch),
        "rewards": roles.reward.scores(batch),
    }


@torch.no_grad()
def test_logprobs_values_and_rewards(both):
    shared, apart = both
    batch = make_rollout(apart).batch(range(4), apart.policy)
    expected = numbers(apart, batch)
    assert_same(numbers(shared, batch), expected)
    assert_same(numbers(shared, batch), expected)  # also after the other adapters were active
    assert (expected["policy"] - expected["reference"]).abs().max() > 0.01
    assert (apart.value.scores(batch) - expected["rewards"]).abs().max() > 0.01


def policy_loss(roles, rollout):
    batch = rollout.batch(range(4), roles.policy)
    logprobs, _ = roles.policy.response_logprobs(batch, TEMPERATURE)
    advantages = torch.linspace(-1, 1, logprobs.numel()).reshape(logprobs.shape)
    mask = batch.response_mask
    return ppo_policy_loss(logprobs, rollout.logprobs, advantages, mask, 0.1, mask.sum()).loss


def value_loss(roles, rollout):
    batch = rollout.batch(range(4), roles.policy)
    values = roles.value.values(batch)
    old, returns = values.detach() + 0.05, torch.linspace(-1, 1, values.numel()).view_as(values)
    mask = batch.response_mask
    return clipped_value_loss(values, old, returns, mask, 0.2, mask.sum()).loss


@pytest.mark.parametrize(("role", "loss"), [("policy", policy_loss), ("value", value_loss)])
def test_gradients(both, role, loss):
    rollout = make_rollout(both[1])
    found = []
    for roles in both:
        parameters = named(getattr(roles, role))
        gradients = torch.autograd.grad(loss(roles, rollout), list(parameters.values()))
        found.append(dict(zip(parameters, gradients, strict=True)))
    assert_same(*found)
    assert all(gradient.abs().max() > 0 for gradient in found[0].values())


def parameters_of(roles):
    return {
        f"{role}.{name}": parameter.detach().clone()
        for role in ("policy", "value")
        for name, parameter in named(getattr(roles, role)).items()
    }


@pytest.mark.parametrize("micro_batch_size", [2, 4])
def test_a_whole_step_of_ppo_ptx(both, make_context, micro_batch_size):
    shared, apart = both
    rollout = make_rollout(apart)
    batch = rollout.batch(range(4), apart.policy)
    before = parameters_of(apart)
    frozen = [numbers(shared, batch)[name].detach() for name in ("reference", "rewards")]
    config = PpoConfig(**{**CONFIG, **RATES})
    metrics = [
        make(PPO, config, roles, make_context, micro_batch_size).step(rollout) for roles in both
    ]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-5, abs=1e-7)
    assert metrics[0]["loss/ptx"] > 0
    assert metrics[0]["policy/clipfrac_avg"] > 0
    after = parameters_of(shared)
    assert_same(after, parameters_of(apart))
    for name, value in after.items():
        assert (value - before[name]).abs().max() > 1e-3, f"{name} must move"
    for name, old in zip(("reference", "rewards"), frozen, strict=True):
        assert torch.equal(numbers(shared, batch)[name], old), f"{name} must stay"
