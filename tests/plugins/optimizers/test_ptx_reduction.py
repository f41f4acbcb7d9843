"""What gamma of PPO-ptx weighs: means over tokens, or the sums of equation 2."""

import pytest
import torch

from rlhfkit.errors import UserError
from rlhfkit_plugins.optimizers import PpoConfig
from rlhfkit_plugins.optimizers.ppo import PPO
from tests.plugins.optimizers.ppo_steps import CONFIG, make, make_rollout
from tests.plugins.optimizers.test_ppo import make_roles

ONE = {"num_ppo_epochs": 1, "num_mini_batches": 1, "max_grad_norm": 0.0}


def weights(make_context, **options):
    """The policy's after a step, and what its pretraining texts were."""
    roles = make_roles()
    ppo = make(PPO, PpoConfig(**CONFIG | ONE | options), roles, make_context, 4)
    ppo.pretraining = [[1, 2, 3, 4, 5, 6, 0, 1, 2]]  # 8 tokens that are predicted
    ppo.step(make_rollout(roles))
    return torch.cat([row.detach().flatten() for row in roles.policy.trainable_parameters()])


def test_sums_weigh_a_text_by_its_length_over_an_answers(make_context):
    """Answers of 3, 1, 2 and 4 tokens, 2.5 in the mean, beside a text of 8: 0.5 is 1.6."""
    summed = weights(make_context, ptx_coef=0.5, ptx_reduction="token_sum")
    means = [weights(make_context, ptx_coef=coef) for coef in (0.5, 1.6)]
    torch.testing.assert_close(summed, means[1], rtol=0, atol=1e-7)
    assert (summed - means[0]).abs().max() > 1e-4


def test_both_are_plain_ppo_at_0(make_context):
    summed = weights(make_context, ptx_coef=0.0, ptx_reduction="token_sum")
    assert torch.equal(summed, weights(make_context, ptx_coef=0.0))


def test_a_norm_of_0_does_not_clip(make_context):
    free = weights(make_context, max_grad_norm=0.0)
    assert torch.equal(free, weights(make_context, max_grad_norm=1e6))
    assert not torch.equal(free, weights(make_context, max_grad_norm=1e-5))


def test_another_reduction_is_refused():
    with pytest.raises(UserError, match=r"optimizer.ptx_reduction=sum: "):
        PpoConfig(ptx_reduction="sum").check("optimizer")
