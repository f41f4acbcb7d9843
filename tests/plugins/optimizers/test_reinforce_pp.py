"""A whole REINFORCE++ step against the NumPy version of PPO without its value model."""

import numpy as np
import pytest
import torch

from rlhfkit.errors import UserError
from rlhfkit_plugins.optimizers import PpoConfig, ReinforcePpConfig
from rlhfkit_plugins.optimizers.reinforce_pp import ReinforcePP
from tests.plugins.optimizers.ppo_steps import CONFIG, make, make_rollout
from tests.plugins.optimizers.test_ppo import arrays_of, make_roles, numpy_step

OPTIONS = {
    name: value for name, value in CONFIG.items() if name in ReinforcePpConfig.__dataclass_fields__
}


def expected_step(roles, rollout):
    """The policy after PPO's step: returns are the advantages that lambda 1 gives a value model of
    zeros. The value model as it was."""
    with torch.no_grad():
        for parameter in roles.value.head.parameters():
            parameter.zero_()
    stepped, _ = numpy_step(roles, rollout, PpoConfig(**CONFIG | {"lam": 1.0}))
    return arrays_of(roles) | {name: stepped[name] for name in ("E", "W")}


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 4])
def test_a_whole_step_is_numpys(make_context, micro_batch_size):
    roles = make_roles()
    rollout = make_rollout(roles)
    expected = expected_step(roles, rollout)
    before = arrays_of(roles)
    config = ReinforcePpConfig(**OPTIONS)
    metrics = make(ReinforcePP, config, roles, make_context, micro_batch_size).step(rollout)
    assert metrics["policy/clipfrac_avg"] > 0, "the case must exercise clipping"
    for name, value in arrays_of(roles).items():
        assert (np.abs(value - before[name]).max() > 1e-3) == (name in ("E", "W")), name
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-8, err_msg=name)


def test_a_discount_without_meaning():
    with pytest.raises(UserError, match=r"gamma=1\.5: must be from 0 to 1"):
        ReinforcePpConfig(gamma=1.5).check("optimizer")
