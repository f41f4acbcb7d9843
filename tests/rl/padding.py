"""A batch of right-padded responses for property tests, and the same batch with more padding."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Random float64 rows, cut to lengths; `junk` is what stands in the padding."""

    seed: int
    lengths: tuple[int, ...]
    extra: int
    junk: float

    @property
    def mask(self) -> Tensor:
        return torch.arange(max(self.lengths)) < torch.tensor(self.lengths)[:, None]

    @property
    def wide_mask(self) -> Tensor:
        return torch.nn.functional.pad(self.mask, (0, self.extra), value=False)

    def rows(self, count: int) -> list[Tensor]:
        """Give tensors [B, T] with 0 in the padding."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (count, *self.mask.shape)
        return list(torch.randn(shape, generator=generator, dtype=torch.float64) * self.mask)

    def widen(self, x_BT: Tensor) -> Tensor:
        """Append `extra` columns and put junk at every masked entry."""
        wide_BT = torch.nn.functional.pad(x_BT.detach(), (0, self.extra))
        return wide_BT.masked_fill(~self.wide_mask, self.junk)

    def narrow(self, x_BT: Tensor) -> Tensor:
        """Drop the appended columns."""
        return x_BT[:, : self.mask.shape[1]]


batches = st.builds(
    Batch,
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    extra=st.integers(0, 3),
    junk=st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e300, 7.0]),
)
