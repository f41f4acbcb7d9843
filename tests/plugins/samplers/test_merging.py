"""Adapters merged while sampling: the same log-probabilities, and no bit of a weight changed."""

from functools import partial

import pytest
import torch

from rlhfkit.models.batch import make_batch
from rlhfkit.models.merging import merged_adapter
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig, ContinuousConfig
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.continuous import ContinuousSampler
from tests.architectures import write as write_architecture
from tests.plugins.loaders.conftest import perturb, trained

__all__ = ["trained"]

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6]]


def policy_of(run):
    roles = run.context.build("loader").roles(run.sft, run.reward)
    perturb(roles.policy.trainable_parameters(), 3)
    return roles.policy


def weights(policy):
    return {name: value.detach().clone() for name, value in policy.model.state_dict().items()}


def assert_bitwise(policy, before):
    after = policy.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def merged_layers(policy):
    return [layer for layer in policy.model.modules() if getattr(layer, "merged", False)]


def draw(policy, **options):
    sampler = CachedSampler(CachedConfig(response_length=8, **options))
    return sampler.sample(policy, PROMPTS, Ends((-1,)), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_samples_are_those_of_the_adapter_apart(trained, architecture):
    policy = policy_of(trained("lora", write=partial(write_architecture, name=architecture)))
    before = weights(policy)
    merged, apart = draw(policy), draw(policy, merge_adapters=False)
    assert_bitwise(policy, before)
    batch = make_batch(PROMPTS, [response.ids for response in merged])
    expected, _ = policy.response_logprobs(batch)
    with policy.model.disable_adapter():
        base, _ = policy.response_logprobs(batch)
    assert (expected - base).abs().max() > 0.01
    for one, other, row in zip(merged, apart, expected.tolist(), strict=True):
        assert one.ids == other.ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.logprobs == pytest.approx(row, abs=1e-4)


def test_weights_come_back_after_an_error(trained):
    policy = policy_of(trained("lora"))
    before = weights(policy)
    with pytest.raises(ZeroDivisionError), merged_adapter(policy):
        fail_while_merged(policy, before)
    assert not merged_layers(policy)
    assert_bitwise(policy, before)


def fail_while_merged(policy, before):
    name = next(name for name in before if name.endswith("q_proj.base_layer.weight"))
    assert merged_layers(policy)
    assert not torch.equal(policy.model.state_dict()[name], before[name])
    raise ZeroDivisionError


@pytest.mark.parametrize("loader", ["qlora", "lora"])
def test_a_base_that_cannot_hold_the_sum_is_left_alone(trained, loader):
    run = trained(loader, *(["model.dtype=bfloat16"] if loader == "lora" else []))
    policy = policy_of(run)
    with merged_adapter(policy):
        assert not merged_layers(policy)


def test_continuous_batching_samples_with_the_adapter(trained):
    policy = policy_of(trained("lora"))
    sampler = ContinuousSampler(ContinuousConfig(response_length=8, temperature=1e-4))
    drawn = sampler.sample(policy, PROMPTS, Ends((-1,)), torch.Generator().manual_seed(0))
    likeliest = draw(policy, temperature=1e-4)
    assert [response.ids for response in drawn] == [response.ids for response in likeliest]


def test_a_model_without_adapters(make_context, tmp_path):
    tiny.language_model(tmp_path / "base")
    context = make_context("loader=full", f"model.path={tmp_path / 'base'}")
    model = context.build("loader").language_model(None)
    with merged_adapter(model):
        assert not merged_layers(model)
