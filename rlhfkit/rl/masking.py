"""The last unmasked token, and sums, means and variances over the unmasked entries.

Masked entries are replaced, never multiplied by 0, so that a NaN or an infinity in the padding
reaches neither a result nor a gradient.
"""

import torch
from torch import Tensor

from rlhfkit.rl.shapes import BOOL, FLOAT, require_axes, require_dtype, require_same_shape


def last_index(mask_BT: Tensor) -> Tensor:
    """Give the position of the last unmasked token: max { t : mask_t }.

    The score of a response is read there: Huang et al. 2024 (arXiv 2403.17031), reward at EOS.

    Args:
        mask_BT: bool.
    Returns:
        index_B, int64.
    Raises:
        ValueError: wrong shape or dtype, or a row without True.
    """
    require_axes(mask_BT=mask_BT)
    require_dtype(BOOL, mask_BT=mask_BT)
    if not _waits(mask_BT) and not mask_BT.any(dim=1).all():
        raise ValueError("mask_BT: a row has no unmasked entry")
    positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return positions_T.expand_as(mask_BT).masked_fill(~mask_BT, -1).amax(dim=1)


def zero_masked(x: Tensor, mask: Tensor) -> Tensor:
    """Put 0 at the masked entries: where(mask, x, 0), with gradient 0 there.

    Args:
        x: any shape, float32 or float64.
        mask: bool, the shape of x.
    Returns:
        A tensor like x.
    Raises:
        ValueError: shapes differ or a wrong dtype.
    """
    require_same_shape(x=x, mask=mask)
    require_dtype(FLOAT, x=x)
    require_dtype(BOOL, mask=mask)
    return x.masked_fill(~mask, 0.0)


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum the unmasked entries: sum_i mask_i x_i.

    Args:
        x: any shape, float32 or float64.
        mask: bool, the shape of x.
    Returns:
        A scalar; 0 when nothing is unmasked.
    Raises:
        ValueError: shapes differ or a wrong dtype.
    """
    return zero_masked(x, mask).sum()


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Average the unmasked entries: sum_i mask_i x_i / sum_i mask_i.

    Over all entries at once, so every token weighs the same, in a long response or a short one.

    Args:
        x: any shape, float32 or float64.
        mask: bool, the shape of x.
    Returns:
        A scalar.
    Raises:
        ValueError: shapes differ, a wrong dtype, or nothing unmasked.
    """
    total = masked_sum(x, mask)
    if not _waits(mask) and not mask.any():
        raise ValueError("mask: no unmasked entry to average over")
    return total / mask.sum()


def _waits(mask: Tensor) -> bool:
    """Whether a look at the mask would wait for a device. It is not waited for: means of nothing
    are NaN there, and places of nothing -1."""
    return mask.device.type != "cpu"


def masked_variance(x: Tensor, mask: Tensor) -> Tensor:
    """Give the unbiased variance of the n unmasked entries, as TRL does.

        var = sum_i mask_i (x_i - mean)^2 / (n - 1)

    Args:
        x: any shape, float32 or float64.
        mask: bool, the shape of x.
    Returns:
        A scalar; 0 for a single unmasked entry, which has no spread.
    Raises:
        ValueError: shapes differ, a wrong dtype, or nothing unmasked.
    """
    deviations = zero_masked(x, mask) - masked_mean(x, mask)
    return masked_sum(deviations.square(), mask) / (mask.sum() - 1).clamp(min=1)
