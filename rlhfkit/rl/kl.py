"""The divergence from the reference policy: estimates, the penalised reward, the coefficient."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rlhfkit.rl.masking import last_index, zero_masked
from rlhfkit.rl.shapes import (
    FLOAT,
    require_axes,
    require_dtype,
    require_fraction,
    require_masked_floats,
    require_positive,
)

ESTIMATORS = ("k1", "k2", "k3")


def kl_terms(
    logprobs_BT: Tensor,
    ref_logprobs_BT: Tensor,
    estimator: str,
    clip: float | None = None,
) -> Tensor:
    """Estimate KL(policy || reference) at each token sampled from the policy.

        d = logprob - ref_logprob
        k1 = d             unbiased, of either sign
        k2 = d^2 / 2       biased, never negative
        k3 = e^-d - 1 + d  unbiased, never negative

    Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html). InstructGPT's
    penalty is k1. As a term of a loss, the gradient of k2 is that of the KL, of k3 an estimate of
    that of KL(reference || policy), and of k1 one of mean 0: Tang & Munos 2025 (arXiv 2506.09477).

    Args:
        logprobs_BT: log-probabilities under the policy, float32 or float64.
        ref_logprobs_BT: the same under the reference.
        estimator: one of ESTIMATORS.
        clip: bound on the size of a term, beyond which it has no gradient; None for none.
    Returns:
        kl_BT.
    Raises:
        ValueError: shapes differ, a wrong dtype, another estimator, or a clip not above 0.
    """
    require_axes(logprobs_BT=logprobs_BT, ref_logprobs_BT=ref_logprobs_BT)
    require_dtype(FLOAT, logprobs_BT=logprobs_BT, ref_logprobs_BT=ref_logprobs_BT)
    terms_BT = _estimates(logprobs_BT - ref_logprobs_BT, estimator)
    if clip is None:
        return terms_BT
    require_positive(clip=clip)
    return terms_BT.clamp(-clip, clip)


def _estimates(log_ratio_BT: Tensor, estimator: str) -> Tensor:
    match estimator:
        case "k1":
            return log_ratio_BT
        case "k2":
            return log_ratio_BT.square() / 2
        case "k3":
            return torch.expm1(-log_ratio_BT) + log_ratio_BT
        case _:
            raise ValueError(f"estimator: expected k1, k2 or k3, got {estimator!r}")


def penalised_rewards(scores_B: Tensor, kl_BT: Tensor, mask_BT: Tensor, coef: float) -> Tensor:
    """Give each token its KL penalty and the last token the score of the response too.

        r_t = -coef kl_t + [t is the last unmasked token] score

    InstructGPT, Ouyang et al. 2022 (arXiv 2203.02155), sec. 3.5 eq. 2; Ziegler et al. 2019
    (arXiv 1909.08593), sec. 2 eq. 2.

    Args:
        scores_B: score of each response, float32 or float64.
        kl_BT: estimates of `kl_terms`, of the scores' dtype.
        mask_BT: bool.
        coef: weight of the penalty, beta in the papers.
    Returns:
        rewards_BT, 0 at masked tokens.
    Raises:
        ValueError: shapes disagree, a wrong dtype, or a response without a token.
    """
    require_masked_floats(mask_BT, scores_B=scores_B, kl_BT=kl_BT)
    require_dtype((kl_BT.dtype,), scores_B=scores_B)
    penalties_BT = -coef * zero_masked(kl_BT, mask_BT)
    return penalties_BT.scatter_add(1, last_index(mask_BT)[:, None], scores_B[:, None])


def adaptive_coef(
    coef: float, kl: float, target: float, num_episodes: int, horizon: float, clip: float = 0.2
) -> float:
    """Move the weight of the penalty so that the measured KL approaches its target.

        error = clip(kl / target - 1, -clip, clip)
        coef <- coef (1 + error num_episodes / horizon)

    Ziegler et al. 2019 (arXiv 1909.08593), sec. 2.2, as their code has it.

    Args:
        coef: the weight so far.
        kl: mean over the responses of the KL summed over tokens, in nats.
        target: the KL to hold, in nats.
        num_episodes: responses sampled since the last update.
        horizon: responses over which a clipped error multiplies the weight by about e^clip.
        clip: bound on the relative error.
    Returns:
        The new weight.
    Raises:
        ValueError: target, horizon or clip not above 0, kl NaN, or so many episodes for the
            horizon that the weight could reach 0.
    """
    require_positive(target=target, horizon=horizon, clip=clip)
    if math.isnan(kl):
        raise ValueError("kl: expected a number, got NaN")
    if clip * num_episodes >= horizon:
        raise ValueError(f"num_episodes: expected below horizon / clip, got {num_episodes}")
    error = max(-clip, min(kl / target - 1, clip))
    return coef * (1 + error * num_episodes / horizon)


class PidStep(NamedTuple):
    """What `pid_coef` gives."""

    coef: float
    """The new weight."""
    integral: float
    """To be given to the next call."""


def pid_coef(
    kl: float,
    previous_kl: float | None,
    integral: float,
    target: float,
    kp: float,
    ki: float,
    kd: float,
) -> PidStep:
    """Move the weight of the penalty as the multiplier of the constraint KL <= target.

        error = kl - target
        integral <- max(0, integral + ki error)
        coef = max(0, kp error + integral + kd max(0, kl - previous_kl))

    PID Lagrangian, Stooke et al. 2020 (arXiv 2007.03964), alg. 2, with ki inside the integral, so
    that it starts at the weight one starts with. kp = kd = 0 is gradient ascent on the multiplier.

    Args:
        kl: mean over the responses of the KL summed over tokens, in nats.
        previous_kl: that of the call before, None for the first.
        integral: that of the call before, at first the weight to start with.
        target: the most KL to allow, in nats.
        kp, ki, kd: gains of error, integral and rise, in weight per nat and call.
    Returns:
        PidStep(coef, integral).
    Raises:
        ValueError: target not above 0, or kl not finite.
    """
    require_positive(target=target)
    if not math.isfinite(kl):
        raise ValueError(f"kl: expected a finite number, got {kl}")
    error = kl - target
    rise = 0.0 if previous_kl is None else max(0.0, kl - previous_kl)
    integral = max(0.0, integral + ki * error)
    return PidStep(max(0.0, kp * error + integral + kd * rise), integral)


def scheduled_coef(
    start: float, end: float, progress: float, shape: Literal["linear", "cosine"]
) -> float:
    """Move the weight of the penalty from start to end, whatever the KL.

        linear   coef = end + (start - end) (1 - progress)
        cosine   coef = end + (start - end) (1 + cos(pi progress)) / 2

    The cosine is that of Loshchilov & Hutter 2017 (arXiv 1608.03983), sec. 3 eq. 5.

    Args:
        start, end: the weights at progress 0 and 1.
        progress: share of the episodes that are over.
        shape: "linear" or "cosine".
    Returns:
        The weight.
    Raises:
        ValueError: progress outside [0, 1].
    """
    require_fraction(progress=progress)
    left = 1 - progress if shape == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return end + (start - end) * left
