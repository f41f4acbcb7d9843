"""The three KL controllers."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.testing import KLControllerContract
from rlhfkit_plugins.kl import AdaptiveConfig, FixedConfig, NoneConfig
from rlhfkit_plugins.kl.controllers import AdaptiveKL, FixedKL, NoKL


class TestNone(KLControllerContract):
    def make(self):
        return NoKL(NoneConfig())

    def test_is_zero(self):
        assert self.make().coef == 0


class TestFixed(KLControllerContract):
    def make(self):
        return FixedKL(FixedConfig(kl_coef=0.02))

    def test_never_moves(self):
        controller = self.make()
        controller.update(100.0, 512)
        assert controller.coef == 0.02


class TestAdaptive(KLControllerContract):
    def make(self):
        return AdaptiveKL(AdaptiveConfig(init_kl_coef=0.1, target=6.0, horizon=1000))

    def test_literal_steps(self):
        controller = self.make()
        controller.update(60.0, 100)  # far above: the error is clipped at 0.2
        assert controller.coef == pytest.approx(0.1 * 1.02, rel=1e-12)
        controller.update(6.6, 100)  # 10 % above
        assert controller.coef == pytest.approx(0.1 * 1.02 * 1.01, rel=1e-12)
        controller.update(0.0, 100)  # far below
        assert controller.coef == pytest.approx(0.1 * 1.02 * 1.01 * 0.98, rel=1e-12)
        controller.update(6.0, 100)  # on target
        assert controller.coef == pytest.approx(0.1 * 1.02 * 1.01 * 0.98, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FixedKL(FixedConfig(kl_coef=-0.1)), "kl.kl_coef=-0.1: must not be negative"),
        (lambda: AdaptiveKL(AdaptiveConfig(target=0.0)), "must be positive"),
        (lambda: AdaptiveKL(AdaptiveConfig(init_kl_coef=0.0)), "must be positive"),
        (lambda: AdaptiveKL(AdaptiveConfig(horizon=0)), "must be positive"),
    ],
)
def test_values_outside_their_meaning(make, says):
    with pytest.raises(UserError, match=says):
        make()


def test_a_horizon_shorter_than_one_update_is_refused_at_once(make_context):
    overrides = ("kl=adaptive", "kl.horizon=10")
    assert make_context(*overrides, "stage.rl.batch_size=49").build("kl").horizon == 10
    with pytest.raises(UserError, match=r"kl\.horizon=10: too short for stage\.rl\.batch_size=50"):
        make_context(*overrides, "stage.rl.batch_size=50").build("kl")
