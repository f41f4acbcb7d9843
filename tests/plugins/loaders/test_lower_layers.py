"""The layers below the adapters are computed once, and nothing changes by it."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import lower_rows
from rlhfkit.models.lower_layers import LowerRows, depth_below_adapters
from rlhfkit_plugins.optimizers import PpoConfig, RlooConfig
from rlhfkit_plugins.optimizers.ppo import PPO
from rlhfkit_plugins.optimizers.rloo import RLOO
from tests import architectures
from tests.plugins.loaders.conftest import perturb
from tests.plugins.optimizers.ppo_steps import (
    CONFIG,
    PROMPT_IDS,
    RESPONSES,
    TEMPERATURE,
    make,
    make_rollout,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def roles_of(make_context, folder, *overrides):
    """Roles that differ, adapters on the upper one of two layers."""
    context = make_context(f"model.path={folder}", "loader.lora_last_layers=1", *overrides)
    torch.manual_seed(0)  # fresh adapters are random
    roles = context.build("loader").roles(None, None)
    perturb(roles.policy.trainable_parameters(), 3)
    perturb(roles.value.trainable_parameters(), 4)
    return roles


@pytest.fixture(params=["loader=lora", "loader=qlora"])
def roles(make_context, tmp_path, request):
    architectures.write(tmp_path / "model", "llama")
    return roles_of(make_context, tmp_path / "model", request.param)


def with_lower(roles, rollout):
    size = AdaptiveBatchSize("the shared layers", 3)
    rows = lower_rows(roles.reference, PROMPT_IDS, RESPONSES, roles.shared_depth, size)
    return replace(rollout, lower=rows)


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_numbers_of_every_architecture(make_context, tmp_path, name):
    architectures.write(tmp_path / "model", name)
    roles = roles_of(make_context, tmp_path / "model", "loader=lora")
    assert roles.shared_depth == 1
    plain = make_rollout(roles)
    shared = with_lower(roles, plain)
    assert [len(row) for row in shared.lower.rows] == [5, 2, 5, 5]
    batches = [item.batch([2, 0, 3], roles.policy) for item in (plain, shared)]
    for model in (roles.policy, roles.reference):
        found = [model.response_logprobs(batch, TEMPERATURE) for batch in batches]
        torch.testing.assert_close(found[1], found[0], **CLOSE)
        gradients = [numbers_gradient(model, pair[0]) for pair in found]
        torch.testing.assert_close(gradients[1], gradients[0], **CLOSE)
    values = [roles.value.values(batch) for batch in batches]
    torch.testing.assert_close(values[1], values[0], **CLOSE)


def numbers_gradient(model, logprobs):
    parameters = model.trainable_parameters()
    return torch.autograd.grad(logprobs.sum(), parameters) if parameters else ()


def test_the_lower_layers_are_not_computed_again(roles):
    rollout = with_lower(roles, make_rollout(roles))
    seen = []
    layers = roles.policy.body.layers
    for index, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, index=index: seen.append(index))
    roles.policy.response_logprobs(rollout.batch([0, 1], roles.policy))
    roles.value.values(rollout.batch([0, 1], roles.policy))
    assert seen == [1, 1]
    assert roles.policy.body.layers is layers


def test_upper_layers_follow_the_role_as_ever(roles):
    batch = make_rollout(roles).batch(range(4), roles.policy)
    with torch.no_grad():
        expected = roles.reference.response_logprobs(batch)[0]
        policy = roles.policy.response_logprobs(batch)[0]
        lower = roles.reference.lower_states(batch, roles.shared_depth)  # the policy was active
        found = roles.reference.response_logprobs(batch)[0]
    assert (policy - expected).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert lower.shape == (4, 5, 64)


def test_other_states_give_other_numbers(roles):
    rollout = with_lower(roles, make_rollout(roles))
    wrong = LowerRows([row + 1 for row in rollout.lower.rows], rollout.lower.depth)
    found = [
        roles.policy.response_logprobs(item.batch(range(4), roles.policy))[0]
        for item in (rollout, replace(rollout, lower=wrong))
    ]
    assert (found[0] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (PPO, PpoConfig(**CONFIG)),
        (RLOO, RlooConfig(learning_rate=0.05, num_generations=2, num_ppo_epochs=2)),
    ],
)
def test_whole_steps(make_context, tmp_path, kind, config):
    architectures.write(tmp_path / "model", "llama")
    after = []
    for shares in (False, True):
        roles = roles_of(make_context, tmp_path / "model", "loader=lora")
        before = [item.detach().clone() for item in roles.policy.trainable_parameters()]
        rollout = make_rollout(roles)
        make(kind, config, roles, make_context, 2).step(
            with_lower(roles, rollout) if shares else rollout
        )
        after.append([item.detach() for item in roles.policy.trainable_parameters()])
        assert all(
            (new - old).abs().max() > 1e-3 for new, old in zip(after[-1], before, strict=True)
        )
    # Adam divides by roots of squared gradients, which enlarges rounding; steps are of size 0.05
    torch.testing.assert_close(after[1], after[0], rtol=1e-3, atol=1e-4)


def test_depth(make_context, tmp_path):
    architectures.write(tmp_path / "model", "llama")
    path = f"model.path={tmp_path / 'model'}"

    def depth(*overrides):
        return make_context(path, *overrides).build("loader").roles(None, None).shared_depth

    assert depth("loader=lora", "loader.lora_last_layers=1") == 1
    assert depth("loader=lora") == 0
    assert depth("loader=lora", "loader.lora_last_layers=1", "loader.share_lower=false") == 0
    assert depth("loader=full") == 0


def test_an_adapter_outside_the_layers_shares_nothing(roles):
    body = roles.policy.body
    assert depth_below_adapters(body) == 1
    body.embed_tokens = deepcopy(body.layers[1].mlp.up_proj)
    assert depth_below_adapters(body) == 0
