"""How much better than expected each token was: GAE, discounted returns, leave-one-out, GRPO."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from rlhfkit.rl.masking import zero_masked
from rlhfkit.rl.shapes import (
    FLOAT,
    require_axes,
    require_dtype,
    require_fraction,
    require_masked_floats,
)


@dataclass(frozen=True)
class Advantages:
    """What `gae` gives; both fields have the shape [B, T] and are 0 at masked tokens."""

    advantages: Tensor
    """A_t, what the policy loss weighs log-probabilities with."""
    returns: Tensor
    """A_t + V_t, the target of the value loss."""


def gae(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float
) -> Advantages:
    """Estimate advantages by generalised advantage estimation.

        delta_t = r_t + gamma V_{t+1} - V_t,   V = 0 past the last unmasked token
        A_t = delta_t + gamma lam A_{t+1}

    Schulman et al. 2015 (arXiv 1506.02438), sec. 3 eq. 16. lam = 1 gives the discounted return
    less the value, lam = 0 the one-step error delta.

    Args:
        rewards_BT: reward of each token, float32 or float64.
        values_BT: value before each token, V_t of the prompt and the tokens 0 .. t-1.
        mask_BT: bool, right-padded: no True after a False.
        gamma: discount, 1 in InstructGPT.
        lam: trade of variance (1) against bias (0).
    Returns:
        Advantages(advantages, returns).
    Raises:
        ValueError: shapes differ, a wrong dtype, a mask with a hole, gamma or lam outside [0, 1].
    """
    require_masked_floats(mask_BT, rewards_BT=rewards_BT, values_BT=values_BT)
    require_fraction(gamma=gamma, lam=lam)
    _require_right_padded(mask_BT)
    values_BT = zero_masked(values_BT, mask_BT)
    next_values_BT = pad(values_BT[:, 1:], (0, 1))
    deltas_BT = zero_masked(rewards_BT, mask_BT) + gamma * next_values_BT - values_BT
    advantages_BT = _discounted_sums(deltas_BT, gamma * lam)
    return Advantages(advantages_BT, returns=advantages_BT + values_BT)


def discounted_returns(rewards_BT: Tensor, mask_BT: Tensor, gamma: float) -> Tensor:
    """Sum the rewards from each token on: G_t = r_t + gamma G_{t+1}.

    Williams 1992 (REINFORCE), with discount.

    Args:
        rewards_BT: reward of each token, float32 or float64.
        mask_BT: bool, right-padded: no True after a False.
        gamma: discount.
    Returns:
        returns_BT, 0 at masked tokens.
    Raises:
        ValueError: shapes differ, a wrong dtype, a mask with a hole, gamma outside [0, 1].
    """
    require_masked_floats(mask_BT, rewards_BT=rewards_BT)
    require_fraction(gamma=gamma)
    _require_right_padded(mask_BT)
    return _discounted_sums(zero_masked(rewards_BT, mask_BT), gamma)


def leave_one_out(scores_GK: Tensor) -> Tensor:
    """Compare each completion with the mean of the others of its prompt.

        A_i = s_i - 1/(K-1) sum_{j != i} s_j

    RLOO, Ahmadian et al. 2024 (arXiv 2402.14740): the baseline of a completion does not depend on
    it, so the policy gradient stays unbiased.

    Args:
        scores_GK: scores of the K completions of each of G prompts, float32 or float64.
    Returns:
        advantages_GK; each row sums to 0.
    Raises:
        ValueError: wrong shape or dtype, or K below 2.
    """
    _require_groups(scores_GK)
    others_GK = scores_GK.sum(dim=1, keepdim=True) - scores_GK
    return scores_GK - others_GK / (scores_GK.shape[1] - 1)


def group_relative(scores_GK: Tensor, scale: bool) -> Tensor:
    """Compare each completion with the mean of its prompt's, in standard deviations if `scale`.

        A_i = (s_i - mean(s)) / (std(s) + 1e-4)   or without scale   A_i = s_i - mean(s)

    GRPO, DeepSeekMath, Shao et al. 2024 (arXiv 2402.03300), sec. 4.1.2; without scale Dr. GRPO,
    Liu et al. 2025 (arXiv 2503.20783), sec. 3. The unbiased deviation and the 1e-4 are TRL's.

    Args:
        scores_GK: scores of the K completions of each of G prompts, float32 or float64.
        scale: False leaves prompts whose scores differ more the larger weight.
    Returns:
        advantages_GK; each row sums to 0.
    Raises:
        ValueError: wrong shape or dtype, or K below 2.
    """
    _require_groups(scores_GK)
    advantages_GK = scores_GK - scores_GK.mean(dim=1, keepdim=True)
    if not scale:
        return advantages_GK
    return advantages_GK / (scores_GK.std(dim=1, keepdim=True) + 1e-4)


def _require_groups(scores_GK: Tensor) -> None:
    require_axes(scores_GK=scores_GK)
    require_dtype(FLOAT, scores_GK=scores_GK)
    if scores_GK.shape[1] < 2:
        raise ValueError(f"scores_GK: expected K of 2 or more, got {scores_GK.shape[1]}")


def _discounted_sums(x_BT: Tensor, factor: float) -> Tensor:
    """y_t = x_t + factor y_{t+1}, from the last token to the first."""
    sums_BT = torch.zeros_like(x_BT)
    running_B = x_BT.new_zeros(x_BT.shape[0])
    for t in reversed(range(x_BT.shape[1])):
        running_B = x_BT[:, t] + factor * running_B
        sums_BT[:, t] = running_B
    return sums_BT


def _require_right_padded(mask_BT: Tensor) -> None:
    if (mask_BT[:, 1:] & ~mask_BT[:, :-1]).any():
        raise ValueError("mask_BT: expected right padding, got True after a False")
