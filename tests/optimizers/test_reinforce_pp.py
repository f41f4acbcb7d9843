"""A whole REINFORCE++ step against the NumPy version of PPO without its value model."""

import random

import numpy as np
import pytest

from rlhfkit.errors import UserError
from rlhfkit_plugins.optimizers import PpoConfig, ReinforcePpConfig
from rlhfkit_plugins.optimizers.reinforce_pp import ReinforcePP
from tests.optimizers import numpy_ppo
from tests.optimizers.ppo_steps import (
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
from tests.optimizers.test_ppo import arrays_of, make_roles

OPTIONS = {
    name: value for name, value in CONFIG.items() if name in ReinforcePpConfig.__dataclass_fields__
}


def numpy_step(roles, rollout):
    """Policy parameters after the step: returns are the advantages that lambda 1 gives a value
    model of zeros."""
    p = arrays_of(roles)
    without_values = p | {"v": np.zeros_like(p["v"]), "c": np.zeros_like(p["c"])}
    plain = vars(PpoConfig(**CONFIG))
    options = {**plain, "lam": 1.0, "temperature": TEMPERATURE, "kl_coef": KL_COEF}
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
    targets = numpy_ppo.advantages_and_returns(without_values, batch, options)
    adam = numpy_ppo.AdamW(0.9, 0.95, 1e-5)
    rng = random.Random(SEED)
    rates = dict.fromkeys(("E", "W"), CONFIG["learning_rate"])
    for _ in range(CONFIG["num_ppo_epochs"]):
        order = rng.sample(range(4), 4)
        for rows in (order[:2], order[2:]):
            gradient = numpy_ppo.mini_batch_gradient(p, batch, targets, rows, options)
            gradient = {name: gradient[name] for name in ("E", "W")}
            texts = rng.choices(TEXTS, k=CONFIG["ptx_batch_size"])
            for name, value in numpy_ppo.ptx_gradient(p, texts, CONFIG["ptx_coef"]).items():
                gradient[name] = gradient[name] + value
            numpy_ppo.clip_norm(gradient, ("E", "W"), CONFIG["max_grad_norm"])
            adam.step(p, gradient, rates)
    return p


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 4])
def test_a_whole_step_is_numpys(make_context, micro_batch_size):
    roles = make_roles()
    rollout = make_rollout(roles)
    before, expected = arrays_of(roles), numpy_step(roles, rollout)
    config = ReinforcePpConfig(**OPTIONS)
    metrics = make(ReinforcePP, config, roles, make_context, micro_batch_size).step(rollout)
    assert metrics["policy/clipfrac_avg"] > 0, "the case must exercise clipping"
    for name, value in arrays_of(roles).items():
        assert (np.abs(value - before[name]).max() > 1e-3) == (name in ("E", "W")), name
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-8, err_msg=name)


def test_a_discount_without_meaning():
    with pytest.raises(UserError, match=r"gamma=1\.5: must be from 0 to 1"):
        ReinforcePpConfig(gamma=1.5).check("optimizer")
