"""rlhfkit.rl.kl: the three estimators, where penalty and score stand, the adaptive weight."""

import math

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from rlhfkit.rl.kl import (
    adaptive_coef,
    kl_terms,
    penalised_rewards,
    pid_coef,
    scheduled_coef,
)

from .padding import batches

NAN = math.nan


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ("k1", [0.5, -0.5, 0.0]),
        ("k2", [0.125, 0.125, 0.0]),
        ("k3", [0.10653066, 0.14872127, 0.0]),  # e^-0.5 - 1 + 0.5 and e^0.5 - 1 - 0.5
    ],
)
def test_kl_terms_of_literals(estimator, expected):
    logprobs, ref = torch.tensor([[-1.0, -2.0, -3.0]]), torch.tensor([[-1.5, -1.5, -3.0]])
    assert_close(kl_terms(logprobs, ref, estimator), torch.tensor([expected]), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("estimator", "expected", "slopes"),
    [
        ("k1", [0.5, -2.0, 2.0], [1.0, 0.0, 0.0]),
        ("k2", [0.125, 2.0, 2.0], [0.5, 0.0, 0.0]),  # the slope is d
        ("k3", [0.10653066, 2.0, 2.0], [0.39346934, 0.0, 0.0]),  # 1 - e^-d
    ],
)
def test_a_clip_bounds_value_and_gradient(estimator, expected, slopes):
    logprobs = torch.tensor([[0.5, -3.0, 4.0]], requires_grad=True)
    kl = kl_terms(logprobs, torch.zeros(1, 3), estimator, clip=2.0)
    assert_close(kl.detach(), torch.tensor([expected]), rtol=1e-5, atol=0)
    kl.sum().backward()
    assert_close(logprobs.grad, torch.tensor([slopes]), rtol=1e-5, atol=0)


def test_what_the_gradients_of_the_estimators_average_to():
    """On policy: k1 to nothing, k2 to that of KL(policy || reference), k3 of the reverse."""
    logits = torch.tensor([0.3, -0.4, 1.1], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    logprobs = logits.log_softmax(0)
    policy = logprobs.exp()
    gradient = {
        name: torch.autograd.grad(
            (policy.detach() * kl_terms(logprobs[None], reference.log()[None], name)[0]).sum(),
            logits,
            retain_graph=True,
        )[0]
        for name in ("k1", "k2", "k3")
    }
    forward = (policy * (logprobs - reference.log())).sum()
    backward = (reference * (reference.log() - logprobs)).sum()
    assert_close(gradient["k1"], torch.zeros_like(logits), rtol=0, atol=1e-12)
    assert_close(gradient["k2"], torch.autograd.grad(forward, logits, retain_graph=True)[0])
    assert_close(gradient["k3"], torch.autograd.grad(backward, logits)[0])


def test_k1_and_k3_are_unbiased():
    policy = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    reference = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    means = {
        estimator: (policy * kl_terms(policy.log(), reference.log(), estimator)).sum().item()
        for estimator in ("k1", "k2", "k3")
    }
    exact = 0.5 * math.log(0.5 / 0.2) + 0.3 * math.log(0.3 / 0.5) + 0.2 * math.log(0.2 / 0.3)
    assert math.isclose(means["k1"], exact, rel_tol=1e-12)
    assert math.isclose(means["k3"], exact, rel_tol=1e-12)
    assert not math.isclose(means["k2"], exact, rel_tol=1e-2)


def test_penalised_rewards_of_literals():
    kl = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, NAN], [6.0, NAN, math.inf]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]]).bool()
    scores = torch.tensor([10.0, 20.0, -30.0])
    expected = torch.tensor([[-0.1, 0.2, 9.7], [-0.4, 19.5, 0.0], [-30.6, 0.0, 0.0]])
    assert_close(penalised_rewards(scores, kl, mask, coef=0.1), expected)


@given(batches)
@settings(max_examples=30, deadline=None)
def test_rewards_against_loops_whatever_the_padding(batch):
    (kl,) = batch.rows(1)
    scores = kl.sum(dim=1) + 1
    expected = torch.zeros_like(kl)
    for row, length in enumerate(batch.lengths):
        for t in range(length):
            expected[row, t] = -0.05 * kl[row, t] + (scores[row] if t == length - 1 else 0)
    assert_close(penalised_rewards(scores, kl, batch.mask, 0.05), expected)
    wide = penalised_rewards(scores, batch.widen(kl), batch.wide_mask, 0.05)
    assert_close(batch.narrow(wide), expected)
    assert not wide[~batch.wide_mask].any()


def test_rewards_leave_their_arguments_alone():
    scores, kl = torch.tensor([1.0]), torch.tensor([[2.0, 3.0]])
    penalised_rewards(scores, kl, torch.ones(1, 2).bool(), 0.1)
    assert torch.equal(kl, torch.tensor([[2.0, 3.0]]))


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (12.0, 0.101),  # error clipped at 0.2: 0.1 (1 + 0.2 * 500 / 10,000)
        (math.inf, 0.101),
        (6.6, 0.1005),  # error 0.1
        (6.0, 0.1),
        (5.4, 0.0995),
        (0.0, 0.099),  # error clipped at -0.2
    ],
)
def test_adaptive_coef_of_literals(kl, expected):
    coef = adaptive_coef(0.1, kl, target=6.0, num_episodes=500, horizon=10_000)
    assert math.isclose(coef, expected, rel_tol=1e-12)


def test_adaptive_coef_takes_another_clip():
    coef = adaptive_coef(0.1, 12.0, target=6.0, num_episodes=500, horizon=10_000, clip=0.5)
    assert math.isclose(coef, 0.1025, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kl", NAN, "kl: expected a number, got NaN"),
        ("target", 0.0, "target: expected a finite number above 0"),
        ("horizon", 0, "horizon: expected a finite number above 0"),
        ("clip", -0.2, "clip: expected a finite number above 0"),
        ("num_episodes", 50_000, "num_episodes: expected below horizon / clip, got 50000"),
    ],
)
def test_wrong_arguments_of_adaptive_coef(name, value, message):
    arguments = {"coef": 0.1, "kl": 6.0, "target": 6.0, "num_episodes": 500, "horizon": 10_000}
    with pytest.raises(ValueError, match=message):
        adaptive_coef(**{**arguments, name: value})


@pytest.mark.parametrize(
    ("kl", "previous", "integral", "coef", "next_integral"),
    [
        (8.0, None, 0.1, 0.16, 0.12),  # 0.02 * 2 + 0.1 + 0.01 * 2
        (8.0, 6.0, 0.1, 0.26, 0.12),  # and 0.05 * 2 for the rise
        (8.0, 9.0, 0.1, 0.16, 0.12),
        (4.0, 3.0, 0.1, 0.09, 0.08),  # -0.04 + 0.08 + 0.05
        (0.0, None, 0.01, 0.0, 0.0),
    ],
)
def test_pid_coef_of_literals(kl, previous, integral, coef, next_integral):
    found = pid_coef(kl, previous, integral, target=6.0, kp=0.02, ki=0.01, kd=0.05)
    assert math.isclose(found.coef, coef, rel_tol=1e-12, abs_tol=1e-15)
    assert math.isclose(found.integral, next_integral, rel_tol=1e-12, abs_tol=1e-15)


def test_wrong_arguments_of_pid_coef():
    with pytest.raises(ValueError, match="kl: expected a finite number, got nan"):
        pid_coef(NAN, None, 0.1, 6.0, 0.1, 0.1, 0.1)
    with pytest.raises(ValueError, match="target: expected a finite number above 0"):
        pid_coef(1.0, None, 0.1, 0.0, 0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    ("progress", "linear", "cosine"),
    [(0.0, 0.4, 0.4), (0.25, 0.3, 0.34142135623730951), (0.5, 0.2, 0.2), (1.0, 0.0, 0.0)],
)
def test_scheduled_coef_of_literals(progress, linear, cosine):
    for shape, expected in (("linear", linear), ("cosine", cosine)):
        assert scheduled_coef(0.4, 0.0, progress, shape) == pytest.approx(expected, abs=1e-15)
        mirrored = scheduled_coef(0.0, 0.4, 1 - progress, shape)
        assert mirrored == pytest.approx(expected, abs=1e-15)


def test_wrong_arguments_of_scheduled_coef():
    with pytest.raises(ValueError, match="progress: expected a number from 0 to 1"):
        scheduled_coef(0.4, 0.0, 1.1, "linear")


def test_wrong_arguments():
    x, mask = torch.ones(2, 3), torch.ones(2, 3).bool()
    with pytest.raises(ValueError, match="estimator: expected k1, k2 or k3, got 'k4'"):
        kl_terms(x, x, "k4")
    with pytest.raises(ValueError, match="clip: expected a finite number above 0"):
        kl_terms(x, x, "k1", clip=0.0)
    with pytest.raises(ValueError, match="ref_logprobs_BT: expected shape"):
        kl_terms(x, x[:1], "k1")
    with pytest.raises(ValueError, match=r"ref_logprobs_BT: expected torch.float32"):
        kl_terms(x, x.half(), "k1")
    with pytest.raises(ValueError, match=r"scores_B: expected shape \[2\], got \[3\]"):
        penalised_rewards(torch.ones(3), x, mask, 0.1)
    with pytest.raises(ValueError, match=r"scores_B: expected torch.float32, got torch.float64"):
        penalised_rewards(torch.ones(2).double(), x, mask, 0.1)
    with pytest.raises(ValueError, match="mask_BT: a row has no unmasked entry"):
        penalised_rewards(torch.ones(2), x, mask & torch.tensor([[True], [False]]), 0.1)
