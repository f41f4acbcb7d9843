"""Whitening: rewards and advantages scaled to unit variance over a batch."""

import torch
from torch import Tensor

from rlhfkit.rl.masking import masked_mean, masked_variance, zero_masked
from rlhfkit.rl.shapes import require_masked_floats

EPSILON = 1e-8
"""Added to the variance, as in Ziegler's code and TRL."""


def whiten(x_BT: Tensor, mask_BT: Tensor, shift_mean: bool = True) -> Tensor:
    """Scale the unmasked entries to variance 1 and, if `shift_mean`, to mean 0.

        y = (x - mean) / sqrt(var + 1e-8)   (+ mean, without shift_mean)

    Ziegler et al. 2019, in the code rather than the paper: rewards keep their mean, advantages do
    not (openai/lm-human-preferences, train_policy.py). The variance is the unbiased one of TRL.

    Args:
        x_BT: rewards or advantages, float32 or float64.
        mask_BT: bool.
        shift_mean: True for advantages, False for rewards.
    Returns:
        y_BT, 0 at masked entries. A constant x gives 0, or x itself without shift_mean.
    Raises:
        ValueError: shapes differ, a wrong dtype, or nothing unmasked.
    """
    require_masked_floats(mask_BT, x_BT=x_BT)
    mean = masked_mean(x_BT, mask_BT)
    centred_BT = zero_masked(x_BT, mask_BT) - mean
    # The mean of a large constant is off by a rounding error, which the division would blow up.
    centred_BT = centred_BT - masked_mean(centred_BT, mask_BT)
    whitened_BT = centred_BT * torch.rsqrt(masked_variance(centred_BT, mask_BT) + EPSILON)
    return zero_masked(whitened_BT if shift_mean else whitened_BT + mean, mask_BT)
