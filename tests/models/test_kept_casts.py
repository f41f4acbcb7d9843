"""Under autocast an adapter's weights are cast once for all passes of a mini-batch."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rlhfkit.models.language_model import LanguageModel
from tests.plugins.loaders.conftest import perturb, trained
from tests.plugins.loaders.test_roles import BATCH

__all__ = ["trained"]


class Casts(TorchDispatchMode):
    """Counts those of matrices to bfloat16 that gradients are taken of."""

    def __init__(self, parameters):
        super().__init__()
        self.parameters, self.count = {id(each) for each in parameters}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and id(args[0]) in self.parameters:
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def policy(trained):
    """With an adapter that does something, computing in bfloat16."""
    context, sft, reward, _ = trained("lora")
    made = context.build("loader").roles(sft, reward).policy
    perturb(made.trainable_parameters(), 3)
    return LanguageModel(made.model, made.adapter, torch.bfloat16)


def three_passes(policy):
    """Gradients, and how often a weight was cast."""
    parameters = policy.trainable_parameters()
    with Casts(parameters) as casts:
        for _ in range(3):
            policy.response_logprobs(BATCH)[0].sum().backward()
    gradients = [each.grad.clone() for each in parameters if each.grad is not None]
    for each in parameters:
        each.grad = None
    return gradients, casts.count / len(parameters)


def test_gradients_are_the_same_bits_with_a_third_of_the_casts(policy):
    plain, casts = three_passes(policy)
    with policy.kept_casts():
        kept, fewer = three_passes(policy)
    assert (casts, fewer) == (3, 1)
    assert len(kept) == len(plain) > 0
    assert all(map(torch.equal, kept, plain))


def test_weights_that_have_moved_are_cast_again(policy):
    with policy.kept_casts():
        before, _ = three_passes(policy)
    perturb(policy.trainable_parameters(), 4)
    with policy.kept_casts():
        after, casts = three_passes(policy)
    assert casts == 1
    assert not all(map(torch.equal, before, after))
