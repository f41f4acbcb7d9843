"""The KL controllers."""

import dataclasses

import pytest

from rlhfkit.errors import UserError
from rlhfkit_plugins.kl import (
    AdaptiveConfig,
    CosineConfig,
    FixedConfig,
    LinearConfig,
    NoneConfig,
    PidConfig,
)
from rlhfkit_plugins.kl.controllers import AdaptiveKL, FixedKL, NoKL
from rlhfkit_plugins.kl.pid import PidKL


class TestNone:
    def make(self):
        return NoKL(NoneConfig())

    def test_is_zero(self):
        assert self.make().coef == 0


class TestFixed:
    def make(self):
        return FixedKL(FixedConfig(kl_coef=0.02))

    def test_never_moves(self):
        controller = self.make()
        controller.update(100.0, 512)
        assert controller.coef == 0.02


class TestAdaptive:
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


class TestPid:
    CONFIG = PidConfig(target=6.0, init_kl_coef=0.1, kp=0.02, ki=0.01, kd=0.05)

    def make(self):
        return PidKL(self.CONFIG)

    def test_literal_steps(self):
        controller = self.make()
        assert controller.coef == 0.1
        controller.update(8.0, 64)  # nothing to rise from: 0.02 * 2 + (0.1 + 0.01 * 2)
        assert controller.coef == pytest.approx(0.16, rel=1e-12)
        controller.update(9.0, 64)  # 0.02 * 3 + (0.12 + 0.01 * 3) + 0.05 * 1
        assert controller.coef == pytest.approx(0.26, rel=1e-12)
        controller.update(5.0, 64)  # a fall does not count: -0.02 + (0.15 - 0.01)
        assert controller.coef == pytest.approx(0.12, rel=1e-12)
        controller.update(-20.0, 64)  # neither coefficient nor integral goes below 0
        assert controller.coef == 0
        controller.update(6.0, 64)  # a rise of 26 alone
        assert controller.coef == pytest.approx(1.3, rel=1e-12)

    def test_holds_a_plant_at_the_target(self):
        """A policy whose KL is 3 / coef: the multiplier that holds 6 nats is 0.5."""
        controller = PidKL(dataclasses.replace(self.CONFIG, kp=0.01, ki=0.005, kd=0.0))
        for _ in range(200):
            controller.update(3.0 / controller.coef, 64)
        assert controller.coef == pytest.approx(0.5, rel=1e-3)

    def test_takes_up_a_state_without_a_kl(self):
        controller = self.make()
        controller.load_state_dict(self.make().state_dict())
        controller.update(8.0, 64)
        assert controller.coef == pytest.approx(0.16, rel=1e-12)


@pytest.fixture
def schedule(make_context):
    """`schedule("linear")`: from 0.4 to 0.2 over 400 episodes."""
    return lambda kind: make_context(
        f"kl={kind}", "kl.start=0.4", "kl.end=0.2", "stage.rl.total_episodes=400"
    ).build("kl")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("linear", [0.4, 0.35, 0.3, 0.25, 0.2, 0.2]),
        # 0.2 + 0.1 (1 + cos(pi / 4)) and its mirror image
        ("cosine", [0.4, 0.3707106781, 0.3, 0.2292893219, 0.2, 0.2]),
    ],
)
class TestSchedules:
    def test_literals(self, schedule, kind, expected):
        controller = schedule(kind)
        for coef in expected:
            assert controller.coef == pytest.approx(coef, rel=1e-9)
            controller.update(100.0, 100)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (FixedConfig(kl_coef=-0.1), r"kl\.kl_coef=-0\.1: must be .* not negative"),
        (AdaptiveConfig(target=0.0), r"kl\.target=0\.0: must be a finite number above 0"),
        (AdaptiveConfig(init_kl_coef=0.0), r"kl\.init_kl_coef=0\.0: must be"),
        (AdaptiveConfig(horizon=0), r"kl\.horizon=0: must be"),
        (PidConfig(target=0.0), r"kl\.target=0\.0: must be a finite number above 0"),
        (PidConfig(ki=-0.1), r"kl\.ki=-0\.1: must be .* not negative"),
        (PidConfig(kp=0, ki=0, kd=0), "kp, ki and kd are all 0; kl=fixed"),
        (LinearConfig(end=-0.1), r"kl\.end=-0\.1: must be .* not negative"),
        (CosineConfig(end=-0.1), r"kl\.end=-0\.1: must be .* not negative"),
    ],
)
def test_values_outside_their_meaning(config, says):
    with pytest.raises(UserError, match=says):
        config.check("kl")


def test_a_horizon_shorter_than_one_update_is_refused_at_once(make_context):
    overrides = ("kl=adaptive", "kl.horizon=10")
    assert make_context(*overrides, "stage.rl.batch_size=49").build("kl").horizon == 10
    with pytest.raises(UserError, match=r"kl\.horizon=10: too short for stage\.rl\.batch_size=50"):
        make_context(*overrides, "stage.rl.batch_size=50").build("kl")


@pytest.mark.parametrize("option", ["kl_coef", "target", "start"])
def test_no_controller_takes_no_coefficient(make_context, option):
    with pytest.raises(Exception, match=rf"Could not override 'kl\.{option}'"):
        make_context("kl=none", f"kl.{option}=0.02")
