"""Tokens by inverting the cumulative distribution, in two steps.

A card adds up a row of 150,000 probabilities one after the other, which takes longer than reading
them. In two steps it adds up blocks side by side, finds the block, and adds up that one alone.
"""

from functools import cache

import torch
from torch import Tensor


def draw_in_blocks(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """[B] tokens of logits [B, V] by numbers [B, 1] from 0 to 1, and [B] their log-probabilities.

    The token is the first whose cumulative probability is above its number, as in the plain way.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    size = block_size(logits.shape[-1])
    probs = logprobs.exp().view(len(logits), -1, size)
    upto = probs.sum(-1, dtype=uniform.dtype).cumsum(-1)
    target = uniform * upto[:, -1:]
    block = _first_above(upto, target)
    before = upto.gather(1, (block - 1).clamp(min=0)).masked_fill(block == 0, 0)
    chosen = probs.gather(1, block[:, :, None].expand(-1, 1, size))[:, 0]
    within = chosen.cumsum(-1, dtype=uniform.dtype)
    tokens = block * size + _first_above(within, target - before)
    return tokens[:, 0], logprobs.gather(1, tokens)[:, 0]


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """[B, 1] the first place whose value is above the target; the last that adds something where
    rounding has lifted the target beyond it."""
    total = cumulative[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))
    return torch.searchsorted(cumulative, torch.minimum(target, below), right=True)


@cache
def block_size(vocabulary: int) -> int:
    """What divides a vocabulary into blocks that are about as long as they are many."""
    sizes = [size for size in range(1, vocabulary + 1) if vocabulary % size == 0]
    return min(sizes, key=lambda size: size + vocabulary // size)
