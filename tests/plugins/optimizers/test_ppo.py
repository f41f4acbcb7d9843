"""A whole PPO-ptx step against an independent NumPy version; micro-batches change nothing."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.online.rollout import Rollout
from rlhfkit_plugins.optimizers import PpoConfig, RlooConfig
from rlhfkit_plugins.optimizers.ppo import PPO
from rlhfkit_plugins.optimizers.rloo import RLOO
from tests.plugins.optimizers import numpy_ppo
from tests.plugins.optimizers.ppo_steps import (
    CONFIG,
    KL_COEF,
    PROMPT_IDS,
    RESPONSES,
    SEED,
    TEMPERATURE,
    TEXTS,
    make,
    make_rollout,
)

V, D = 7, 3


class Table(nn.Module):
    """The smallest thing a LanguageModel can wrap: the state is a row of a table."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.base_model = self.embedding = nn.Embedding(V, D).double()
        self.head = nn.Linear(D, V, bias=False).double()
        self.config = SimpleNamespace(
            get_text_config=lambda: SimpleNamespace(
                hidden_size=D, final_logit_softcapping=None, model_type="tiny"
            )
        )
        self.embedding.forward = self._states

    def _states(self, input_ids, **_):
        return SimpleNamespace(last_hidden_state=self.embedding.weight[input_ids])

    def get_output_embeddings(self):
        return self.head


class Float64Scalar(ScalarModel):
    """Values in float64, so that the comparison can be tight."""

    def values(self, batch):
        states = batch.before_tokens(self.language_model.states(batch))
        values = self.head(states).squeeze(-1)
        return torch.where(batch.response_mask, values, values.new_zeros(()))


def make_roles():
    value = LanguageModel(Table(2), share_prompts=False)
    for parameter in value.head.parameters():
        parameter.requires_grad_(False)
    head = nn.Linear(D, 1).double()
    scalar = Float64Scalar(value, head)
    policy, reference = (LanguageModel(Table(n), share_prompts=False) for n in (1, 3))
    return RoleModels(policy, reference, scalar, None)


def parameters_of(roles):
    return {
        "E": roles.policy.model.embedding.weight,
        "W": roles.policy.model.head.weight,
        "Ev": roles.value.language_model.model.embedding.weight,
        "v": roles.value.head.weight,
        "c": roles.value.head.bias,
    }


def arrays_of(roles):
    arrays = {name: item.detach().numpy().copy() for name, item in parameters_of(roles).items()}
    return {**arrays, "v": arrays["v"][0], "c": arrays["c"][0]}


def numpy_step(roles, rollout, config):
    """The whole step; returns parameters after it and the number of updates."""
    p = arrays_of(roles)
    options = {**vars(config), "temperature": TEMPERATURE, "kl_coef": KL_COEF}
    lengths = [len(ids) for ids in RESPONSES]
    batch = {
        "previous": [
            np.array([prompt[-1], *ids[:-1]])
            for prompt, ids in zip(PROMPT_IDS, RESPONSES, strict=True)
        ],
        "ids": [np.array(ids) for ids in RESPONSES],
        "old": [row[:n].numpy() for row, n in zip(rollout.logprobs, lengths, strict=True)],
        "ref": [row[:n].numpy() for row, n in zip(rollout.ref_logprobs, lengths, strict=True)],
        "scores": rollout.scores.numpy(),
    }
    targets = numpy_ppo.advantages_and_returns(p, batch, options)
    adam = numpy_ppo.AdamW(0.9, 0.95, 1e-5)
    rng = random.Random(SEED)
    rates = dict.fromkeys(("E", "W"), CONFIG["learning_rate"])
    rates |= dict.fromkeys(("Ev", "v", "c"), CONFIG["value_learning_rate"])
    for _ in range(CONFIG["num_ppo_epochs"]):
        order = rng.sample(range(4), 4)
        for rows in (order[:2], order[2:]):
            approxkl = numpy_ppo.approxkl(p, batch, rows, options)
            if config.target_kl is not None and approxkl > 1.5 * config.target_kl:
                return p, adam.t
            gradient = numpy_ppo.mini_batch_gradient(p, batch, targets, rows, options)
            texts = rng.choices(TEXTS, k=CONFIG["ptx_batch_size"])
            for name, value in numpy_ppo.ptx_gradient(p, texts, CONFIG["ptx_coef"]).items():
                gradient[name] = gradient[name] + value
            numpy_ppo.clip_norm(gradient, ("E", "W"), CONFIG["max_grad_norm"])
            numpy_ppo.clip_norm(gradient, ("Ev", "v", "c"), CONFIG["max_grad_norm"])
            adam.step(p, gradient, rates)
    return p, adam.t


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 4])
def test_a_whole_step_is_numpys(make_context, micro_batch_size):
    roles = make_roles()
    rollout = make_rollout(roles)
    config = PpoConfig(**CONFIG)
    expected, _ = numpy_step(roles, rollout, config)
    before = arrays_of(roles)
    ppo = make(PPO, config, roles, make_context, micro_batch_size)
    metrics = ppo.step(rollout)
    assert metrics["policy/clipfrac_avg"] > 0, "the case must exercise clipping"
    for name, value in arrays_of(roles).items():
        assert np.abs(value - before[name]).max() > 1e-3, f"{name} must move"
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize(("tokens", "passes"), [(6, 4), (12, 2), (100, 1)])
def test_a_step_is_the_same_however_many_tokens_are_computed_at_once(
    make_context, monkeypatch, tokens, passes
):
    """The episodes have 5, 2, 5 and 5 tokens, the texts 4, 3 and 5."""
    config = PpoConfig(**{**CONFIG, "num_mini_batches": 1})
    found, cut, batch = [], [], Rollout.batch
    for options in ([], [f"stage.rl.micro_batch_tokens={tokens}"]):
        roles = make_roles()
        ppo = make(PPO, config, roles, make_context, 4, *options)
        rollout = make_rollout(roles)
        with monkeypatch.context() as patch:
            patch.setattr(Rollout, "batch", lambda *args: cut.append(1) or batch(*args))
            ppo.step(rollout)
        found.append(arrays_of(roles))
    plain = 2 * config.num_ppo_epochs  # of policy and value model
    assert len(cut) == plain + plain * passes
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_first_gradient_without_drift_is_the_plain_policy_gradient(make_context):
    roles = make_roles()
    rollout = make_rollout(roles, noise=0.0)
    config = PpoConfig(**{**CONFIG, "ptx_coef": 0.0, "num_mini_batches": 1, "num_ppo_epochs": 1})
    ppo = make(PPO, config, roles, make_context, 4)
    targets = ppo.targets(rollout)
    batch = rollout.batch(range(4), roles.policy)
    logprobs, _ = roles.policy.response_logprobs(batch, TEMPERATURE)
    plain = -(targets.advantages * logprobs).sum() / rollout.response_mask.sum()
    wanted = torch.autograd.grad(plain, roles.policy.model.head.weight)[0]
    ppo.optimizer_step = lambda: {}
    metrics = ppo.step(rollout)
    assert metrics["val/ratio"] == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(roles.policy.model.head.weight.grad, wanted, rtol=1e-6, atol=1e-9)


def test_rloo_on_policy_is_reinforce_with_leave_one_out(make_context):
    roles = make_roles()
    rollout = make_rollout(roles, noise=0.0)
    config = RlooConfig(num_generations=2, num_ppo_epochs=1, ptx_coef=0.0)
    rloo = make(RLOO, config, roles, make_context, 3)
    rewards = rollout.scores - KL_COEF * rollout.kl.sum(1)
    r = rewards.tolist()
    advantages = torch.tensor([r[0] - r[1], r[1] - r[0], r[2] - r[3], r[3] - r[2]]).double()
    logprobs, _ = roles.policy.response_logprobs(rollout.batch(range(4), roles.policy), TEMPERATURE)
    plain = -(advantages * logprobs.sum(1)).mean()
    wanted = torch.autograd.grad(plain, roles.policy.model.head.weight)[0]
    rloo.optimizer_step = lambda: {}
    rloo.step(rollout)
    torch.testing.assert_close(roles.policy.model.head.weight.grad, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", [PPO, RLOO])
def test_drift_is_that_of_the_unchanged_policy(make_context, kind):
    roles = make_roles()
    rollout = make_rollout(roles, noise=0.0)
    rollout.logprobs[:] += 0.25 * rollout.response_mask
    config = PpoConfig(**CONFIG) if kind is PPO else RlooConfig(num_generations=2, num_ppo_epochs=2)
    optimizer = make(kind, config, roles, make_context, 1)
    assert optimizer.drift.metrics() == {}
    optimizer.step(rollout)
    assert optimizer.drift.metrics() == {
        "sampling/ratio": pytest.approx(0.7788, abs=1e-4),  # exp(-0.25)
        "sampling/logprob_drift": pytest.approx(0.25, abs=1e-6),
        "sampling/logprob_drift_max": pytest.approx(0.25, abs=1e-6),
    }


def test_kl_is_measured_per_token_and_zero_off_the_mask():
    roles = make_roles()
    rollout = make_rollout(roles)
    kl = rollout.kl
    assert torch.equal(kl[~rollout.response_mask], torch.zeros(16 - 10).double())
    assert kl[0, 1] == rollout.logprobs[0, 1] - rollout.ref_logprobs[0, 1]


def test_the_average_of_the_weights_is_taken(make_context):
    roles = make_roles()
    rollout = make_rollout(roles)
    ppo = make(PPO, PpoConfig(**CONFIG, ema_decay=0.75), roles, make_context, 4)
    weight = roles.policy.model.head.weight
    seen = []
    step = ppo.optimizer.step
    ppo.optimizer.step = lambda: (step(), seen.append(weight.detach().clone()))
    ppo.step(rollout)
    assert len(seen) == 4
    expected = seen[0]  # the first weights after a step start the average
    for item in seen[1:]:
        expected = 0.75 * expected + 0.25 * item
    ppo.average.take()
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-12)
