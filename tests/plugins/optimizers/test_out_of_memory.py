"""An update that runs out of memory anywhere ends where one that does not ends."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit_plugins.optimizers import GrpoConfig, PpoConfig, RlooConfig
from rlhfkit_plugins.optimizers.grpo import GRPO
from rlhfkit_plugins.optimizers.ppo import PPO
from rlhfkit_plugins.optimizers.rloo import RLOO
from tests.memory import limit_rows
from tests.plugins.optimizers.test_ppo import CONFIG, arrays_of, make, make_roles, make_rollout

GROUPS = {
    name: value for name, value in CONFIG.items() if name in RlooConfig.__dataclass_fields__
} | {"ptx_batch_size": 4, "num_generations": 2}
KINDS = {
    "ppo": (PPO, PpoConfig(**CONFIG | {"ptx_batch_size": 4})),
    "rloo": (RLOO, RlooConfig(**GROUPS)),
    "grpo": (GRPO, GrpoConfig(**GROUPS)),
}


def step(kind, make_context, **limits):
    """Parameters and metrics after a step in which models fail above some number of rows."""
    roles = make_roles()
    rollout = make_rollout(roles)
    bodies = {"policy": roles.policy.body, "value": roles.value.language_model.body}
    seen = {name: limit_rows(bodies[name], most) for name, most in limits.items()}
    metrics = make(*KINDS[kind], roles, make_context, 4).step(rollout)
    return arrays_of(roles), metrics, seen


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ("ppo", {"value": 1}),  # fails first, in the values, and again in the first gradients
        ("ppo", {"policy": 1}),  # when the value model has its gradients
        ("ppo", {"policy": 3}),  # at the pretraining texts, when both have theirs
        ("ppo", {"policy": 1, "value": 2}),
        ("rloo", {"policy": 1}),
        ("rloo", {"policy": 3}),
        ("grpo", {"policy": 1}),
    ],
)
def test_a_step_ends_at_the_same_parameters_and_metrics(kind, limits, make_context, capsys):
    expected, numbers, _ = step(kind, make_context)
    capsys.readouterr()
    found, metrics, seen = step(kind, make_context, **limits)
    for name, most in limits.items():
        assert max(seen[name]) > most
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    assert metrics == pytest.approx(numbers, rel=1e-5, abs=1e-7)
    assert "out of memory in the update with" in capsys.readouterr().out


def test_the_size_that_fits_is_kept(make_context):
    _, _, seen = step("rloo", make_context, policy=1)
    first = next(index for index, rows in enumerate(seen["policy"]) if rows == 1)
    assert set(seen["policy"][first:]) == {1}


def test_one_row_that_does_not_fit_is_one_line(make_context):
    with pytest.raises(UserError, match=r"the update with one row .* stage.rl.gradient_check"):
        step("rloo", make_context, policy=0)
