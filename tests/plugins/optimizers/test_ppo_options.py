"""Each option of PPO and of the KL penalty: a whole step against the independent NumPy version."""

import numpy as np
import pytest
import torch

from rlhfkit.errors import UserError
from rlhfkit.online.metrics import rollout_metrics
from rlhfkit_plugins.optimizers import PpoConfig, RlooConfig
from rlhfkit_plugins.optimizers.ppo import PPO
from rlhfkit_plugins.optimizers.rloo import RLOO
from tests.plugins.optimizers.ppo_steps import CONFIG, KL_COEF, TEMPERATURE, make, make_rollout
from tests.plugins.optimizers.test_ppo import arrays_of, make_roles, numpy_step

POLICY, VALUE = ("E", "W"), ("Ev", "v", "c")


@pytest.mark.parametrize("micro_batch_size", [1, 4])
@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ({"kl_estimator": "k2"}, POLICY),
        ({"kl_estimator": "k3"}, POLICY),
        ({"kl_clip": 0.4}, POLICY),
        ({"kl_estimator": "k2", "kl_in_loss": True}, POLICY),
        ({"kl_estimator": "k3", "kl_in_loss": True}, POLICY),
        ({"kl_estimator": "k3", "kl_in_loss": True, "kl_clip": 0.3}, POLICY),
        ({"whiten_advantages": False}, POLICY),
        ({"whiten_per_mini_batch": True}, POLICY),
        ({"entropy_coef": 0.3}, POLICY),
        ({"cliprange_value": None}, VALUE),
        ({"value_huber_delta": 0.4}, VALUE),
        ({"value_huber_delta": 0.4, "cliprange_value": None}, VALUE),
    ],
    ids=str,
)
def test_a_step_with_an_option_is_numpys(make_context, options, moved, micro_batch_size):
    roles = make_roles()
    rollout = make_rollout(roles)
    config = PpoConfig(**CONFIG | options)
    plain, _ = numpy_step(roles, rollout, PpoConfig(**CONFIG))
    expected, _ = numpy_step(roles, rollout, config)
    for name in moved:
        assert np.abs(plain[name] - expected[name]).max() > 1e-4, f"the option must move {name}"
    make(PPO, config, roles, make_context, micro_batch_size).step(rollout)
    for name, value in arrays_of(roles).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize(("target_kl", "updates"), [(1e-9, 0), (0.012, 2), (0.02, 3), (1.0, 4)])
def test_passes_stop_before_the_step_that_is_too_far(make_context, target_kl, updates):
    roles = make_roles()
    rollout = make_rollout(roles)
    config = PpoConfig(**CONFIG, target_kl=target_kl)
    expected, counted = numpy_step(roles, rollout, config)
    assert counted == updates
    ppo = make(PPO, config, roles, make_context, 2)
    ppo.step(rollout)
    for name, value in arrays_of(roles).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-8, err_msg=name)
    assert all(parameter.grad is None for parameter in roles.policy.trainable_parameters())


def test_rloo_charges_in_the_loss(make_context):
    """REINFORCE on the scores alone, and the sum of k2 over each completion."""
    roles = make_roles()
    rollout = make_rollout(roles, noise=0.0)
    config = RlooConfig(num_generations=2, num_ppo_epochs=1, kl_estimator="k2", kl_in_loss=True)
    rloo = make(RLOO, config, roles, make_context, 3)
    s = rollout.scores.tolist()
    advantages = torch.tensor([s[0] - s[1], s[1] - s[0], s[2] - s[3], s[3] - s[2]]).double()
    logprobs, _ = roles.policy.response_logprobs(rollout.batch(range(4), roles.policy), TEMPERATURE)
    k2 = ((logprobs - rollout.ref_logprobs) * rollout.response_mask).square().sum(1) / 2
    plain = (KL_COEF * k2 - advantages * logprobs.sum(1)).mean()
    wanted = torch.autograd.grad(plain, roles.policy.model.head.weight)[0]
    rloo.optimizer_step = lambda: {}
    metrics = rloo.step(rollout)
    assert metrics["loss/kl_avg"] == pytest.approx(float(k2.mean().detach()), rel=1e-6)
    torch.testing.assert_close(roles.policy.model.head.weight.grad, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "reward"),
    [
        ({}, "kl"),
        ({"kl_estimator": "k2"}, "k2"),
        ({"kl_estimator": "k2", "kl_in_loss": True}, "nothing"),
    ],
)
def test_metrics_tell_k1_and_what_the_reward_pays(make_context, options, reward):
    roles = make_roles()
    rollout = make_rollout(roles)
    ppo = make(PPO, PpoConfig(**CONFIG | options), roles, make_context, 2)
    metrics = rollout_metrics(rollout, ppo.kl.coef, ppo.kl_penalty)
    k1 = rollout.kl.sum(1).mean()
    paid = {"kl": k1, "k2": rollout.kl.square().sum(1).mean() / 2, "nothing": torch.tensor(0.0)}
    assert metrics["objective/kl"] == pytest.approx(float(k1))
    assert metrics["objective/non_score_reward"] == pytest.approx(-KL_COEF * float(paid[reward]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kl_estimator": "k4"}, r"optimizer\.kl_estimator=k4: did you mean 'k3' or"),
        ({"kl_in_loss": True}, r"optimizer\.kl_estimator=k1: .* take k2 or k3"),
        ({"kl_clip": 0.0}, r"optimizer\.kl_clip=0\.0: must be a finite number above 0"),
        ({"cliprange": -0.2}, r"optimizer\.cliprange=-0\.2: must be a finite number above 0"),
        ({"cliprange_value": 0.0}, r"optimizer\.cliprange_value=0\.0: must be"),
        ({"value_huber_delta": -1.0}, r"optimizer\.value_huber_delta=-1\.0: must be"),
        ({"target_kl": 0.0}, r"optimizer\.target_kl=0\.0: must be"),
        ({"entropy_coef": -0.1}, r"optimizer\.entropy_coef=-0\.1: must be .* not negative"),
        ({"lam": 1.1}, r"optimizer\.lam=1\.1: must be from 0 to 1"),
        ({"whiten_advantages": False, "whiten_per_mini_batch": True}, "whiten_advantages=true"),
        ({"num_mini_batches": 0}, r"optimizer\.num_mini_batches=0: must be"),
    ],
)
def test_values_outside_their_meaning(options, says):
    with pytest.raises(UserError, match=says) as caught:
        PpoConfig(**options).check("optimizer")
    assert "\n" not in str(caught.value)
