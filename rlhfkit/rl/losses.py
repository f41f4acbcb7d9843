"""The losses of the policy, the value and the reward model.

Each token-wise loss is a sum over unmasked tokens divided by `denominator`, which is their number
when None. To cut a batch into micro-batches, pass each the count of the whole batch: the losses
and gradients then add up to those of the batch. Advantages, returns and whatever is called old are
constants: no gradient reaches them. Metrics are detached and average over the micro-batch alone.

What is trained passes `zero_masked` first: a NaN in the padding, of any argument, then stops there
on its way back.

All tensors are float32 or float64, all masks bool. ValueError: shapes disagree, a wrong dtype,
nothing unmasked where a mean is asked for, a denominator or clip range not above 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhfkit.rl.masking import masked_mean, masked_sum, zero_masked
from rlhfkit.rl.shapes import (
    FLOAT,
    INDEX,
    require_axes,
    require_dtype,
    require_masked_floats,
    require_positive,
)


@dataclass(frozen=True)
class PolicyLoss:
    """What `ppo_policy_loss` gives; every field is a scalar."""

    loss: Tensor
    """To be minimised."""
    clipfrac: Tensor
    """Share of tokens whose loss is the clipped one; TRL's policy/clipfrac_avg."""
    approxkl: Tensor
    """Mean of (logprob - old_logprob)^2 / 2; TRL's policy/approxkl_avg."""
    ratio: Tensor
    """Mean of pi / pi_old; TRL's val/ratio."""


@dataclass(frozen=True)
class ValueLoss:
    """What `clipped_value_loss` gives; every field is a scalar."""

    loss: Tensor
    """To be minimised."""
    clipfrac: Tensor
    """Share of tokens whose error is the clipped one; TRL's val/clipfrac_avg."""


@dataclass(frozen=True)
class RankingLoss:
    """What `kwise_ranking_loss` gives; every field is a scalar."""

    loss: Tensor
    """To be minimised; 0 when every completion is tied."""
    correct: Tensor
    """Number of pairs whose better completion has the strictly higher reward, int64."""
    pairs: Tensor
    """Number of pairs that are not tied, int64."""


def ppo_policy_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    cliprange: float,
    denominator: float | None = None,
    cliprange_high: float | None = None,
) -> PolicyLoss:
    """Give PPO's clipped surrogate, with the sign of a loss.

        ratio_t = exp(logprob_t - old_logprob_t)
        loss = - mean_t min(ratio_t A_t, clip(ratio_t, 1 - cliprange, 1 + cliprange) A_t)

    Schulman et al. 2017 (arXiv 1707.06347), sec. 3 eq. 7.

    Args:
        logprobs_BT: log-probabilities under the policy being trained.
        old_logprobs_BT: the same under the policy that sampled.
        advantages_BT: A_t.
        mask_BT: the tokens of the responses.
        cliprange: epsilon of the paper.
        denominator: see the top of this file.
        cliprange_high: epsilon above 1 where it is not that below, DAPO's clip-higher: Yu et al.
            2025 (arXiv 2503.14476), sec. 3.1 eq. 10.
    Returns:
        PolicyLoss(loss, clipfrac, approxkl, ratio).
    Raises:
        ValueError: see the top of this file.
    """
    require_masked_floats(
        mask_BT,
        logprobs_BT=logprobs_BT,
        old_logprobs_BT=old_logprobs_BT,
        advantages_BT=advantages_BT,
    )
    high = cliprange if cliprange_high is None else cliprange_high
    require_positive(cliprange=cliprange, cliprange_high=high)
    log_ratio_BT = zero_masked(logprobs_BT - old_logprobs_BT.detach(), mask_BT)
    ratio_BT = log_ratio_BT.exp()
    weight_BT = -advantages_BT.detach()
    unclipped_BT = weight_BT * ratio_BT
    clipped_BT = weight_BT * ratio_BT.clamp(1 - cliprange, 1 + high)
    return PolicyLoss(
        loss=_mean(torch.maximum(unclipped_BT, clipped_BT), mask_BT, denominator),
        clipfrac=masked_mean((clipped_BT > unclipped_BT).to(ratio_BT.dtype), mask_BT),
        approxkl=masked_mean(log_ratio_BT.detach().square() / 2, mask_BT),
        ratio=masked_mean(ratio_BT.detach(), mask_BT),
    )


def clipped_value_loss(
    values_BT: Tensor,
    old_values_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    cliprange_value: float | None,
    denominator: float | None = None,
    huber_delta: float | None = None,
) -> ValueLoss:
    """Give half the squared error of the values, the worse of the clipped and the unclipped.

        clipped_t = clip(V_t, V_old_t - cliprange_value, V_old_t + cliprange_value)
        loss = mean_t max(e(V_t - R_t), e(clipped_t - R_t)) / 2,   e(x) = x^2

    Ziegler et al. 2019 (arXiv 1909.08593), in the code rather than the paper, and TRL. Without
    cliprange_value the plain error of Schulman et al. 2017; with huber_delta

        e(x) = x^2   where |x| <= huber_delta, else   huber_delta (2 |x| - huber_delta)

    Huber 1964; compared as a value loss by Andrychowicz et al. 2021 (arXiv 2006.05990), sec. 3.4.

    Args:
        values_BT: V_t of the value model being trained.
        old_values_BT: V_t at the time of sampling.
        returns_BT: R_t, the targets.
        mask_BT: the tokens of the responses.
        cliprange_value: how far V_t may move from V_old_t; None for no clipping.
        denominator: see the top of this file.
        huber_delta: error from which on the loss grows linearly; None for squares everywhere.
    Returns:
        ValueLoss(loss, clipfrac).
    Raises:
        ValueError: see the top of this file.
    """
    require_masked_floats(
        mask_BT, values_BT=values_BT, old_values_BT=old_values_BT, returns_BT=returns_BT
    )
    values_BT = zero_masked(values_BT, mask_BT)
    old_BT, returns_BT = old_values_BT.detach(), returns_BT.detach()
    clipped_BT = values_BT
    if cliprange_value is not None:
        require_positive(cliprange_value=cliprange_value)
        clipped_BT = values_BT.clamp(old_BT - cliprange_value, old_BT + cliprange_value)
    error_BT = _error(values_BT - returns_BT, huber_delta)
    clipped_error_BT = _error(clipped_BT - returns_BT, huber_delta)
    return ValueLoss(
        loss=_mean(torch.maximum(error_BT, clipped_error_BT), mask_BT, denominator) / 2,
        clipfrac=masked_mean((clipped_error_BT > error_BT).to(error_BT.dtype), mask_BT),
    )


def pretraining_loss(
    logprobs_BT: Tensor, mask_BT: Tensor, denominator: float | None = None
) -> Tensor:
    """Give the negative log-likelihood of pretraining text per token: - mean_t logprob_t.

    The second term of PPO-ptx without its coefficient gamma: InstructGPT, Ouyang et al. 2022
    (arXiv 2203.02155), sec. 3.5 eq. 2.

    Args:
        logprobs_BT: log-probabilities of the text under the policy being trained.
        mask_BT: the tokens that count.
        denominator: see the top of this file.
    Returns:
        The loss, a scalar.
    Raises:
        ValueError: see the top of this file.
    """
    require_masked_floats(mask_BT, logprobs_BT=logprobs_BT)
    return -_mean(logprobs_BT, mask_BT, denominator)


def kwise_ranking_loss(rewards_K: Tensor, ranks_K: Tensor) -> RankingLoss:
    """Give the reward model's loss over all pairs of the K ranked completions of ONE prompt.

        loss = - mean over pairs (w, l) with rank_w < rank_l of log sigmoid(r_w - r_l)

    InstructGPT, Ouyang et al. 2022 (arXiv 2203.02155), sec. 3.5 eq. 1: without ties the mean is
    the paper's 1 / C(K, 2). Tied pairs are dropped and the mean is over those that remain.

    Args:
        rewards_K: reward of each completion.
        ranks_K: its rank, int64; the lower number is the better, equal numbers are tied.
    Returns:
        RankingLoss(loss, correct, pairs).
    Raises:
        ValueError: see the top of this file.
    """
    require_axes(rewards_K=rewards_K, ranks_K=ranks_K)
    require_dtype(FLOAT, rewards_K=rewards_K)
    require_dtype(INDEX, ranks_K=ranks_K)
    better_KK = ranks_K[:, None] < ranks_K[None, :]
    margins_KK = rewards_K[:, None] - rewards_K[None, :]
    pairs = better_KK.sum()
    return RankingLoss(
        loss=-masked_sum(logsigmoid(margins_KK), better_KK) / pairs.clamp(min=1),
        correct=((margins_KK > 0) & better_KK).sum(),
        pairs=pairs,
    )


def _error(x_BT: Tensor, huber_delta: float | None) -> Tensor:
    if huber_delta is None:
        return x_BT.square()
    require_positive(huber_delta=huber_delta)
    linear_BT = huber_delta * (2 * x_BT.abs() - huber_delta)
    return torch.where(x_BT.abs() <= huber_delta, x_BT.square(), linear_BT)


def _mean(x_BT: Tensor, mask_BT: Tensor, denominator: float | None) -> Tensor:
    if denominator is None:
        return masked_mean(x_BT, mask_BT)
    require_positive(denominator=denominator)
    return masked_sum(x_BT, mask_BT) / denominator
