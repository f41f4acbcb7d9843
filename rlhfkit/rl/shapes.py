"""Checks on entry, used by every module of this package.

Each takes the arguments to check as keywords, so that an error names the argument at fault. All
of them raise ValueError. `require_axes` reads the axes from the name itself: `values_BT` must have
two axes, and B and T must have the same sizes in every tensor of the call.
"""

import math

import torch
from torch import Tensor

BOOL = (torch.bool,)
"""Masks."""
INDEX = (torch.int64,)
"""Token ids, positions and ranks."""
FLOAT = (torch.float32, torch.float64)
"""Numbers that are summed over a batch: half precision would lose them, so the caller widens."""
ANY_FLOAT = (torch.bfloat16, torch.float16, *FLOAT)
"""What a model puts out."""


def require_axes(**tensors: Tensor) -> None:
    """Bind each capital letter that ends a name to one size over all the tensors."""
    sizes: dict[str, int] = {}
    for name, tensor in tensors.items():
        axes = name.rpartition("_")[2]
        shape = list(tensor.shape)
        if len(axes) != len(shape):
            raise ValueError(f"{name}: expected the axes {axes}, got shape {shape}")
        expected = [sizes.setdefault(x, size) for x, size in zip(axes, shape, strict=True)]
        if expected != shape:
            raise ValueError(f"{name}: expected shape {expected}, got {shape}")


def require_same_shape(**tensors: Tensor) -> None:
    """All tensors have the shape of the first, whatever that is."""
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != reference.shape:
            expected, got = list(reference.shape), list(tensor.shape)
            raise ValueError(f"{name}: expected shape {expected}, that of {first}, got {got}")


def require_dtype(allowed: tuple[torch.dtype, ...], **tensors: Tensor) -> None:
    """Each tensor has one of the allowed dtypes: BOOL, INDEX, FLOAT or ANY_FLOAT."""
    for name, tensor in tensors.items():
        if tensor.dtype not in allowed:
            choices = " or ".join(map(str, allowed))
            raise ValueError(f"{name}: expected {choices}, got {tensor.dtype}")


def require_masked_floats(mask_BT: Tensor, **floats: Tensor) -> None:
    """The usual arguments: a bool mask and FLOAT tensors whose axes agree with it."""
    require_axes(mask_BT=mask_BT, **floats)
    require_dtype(BOOL, mask_BT=mask_BT)
    require_dtype(FLOAT, **floats)


def require_positive(**numbers: float) -> None:
    """Each number is above 0 and finite."""
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name}: expected a finite number above 0, got {number}")


def require_fraction(**numbers: float) -> None:
    """Each number is from 0 to 1, both included."""
    for name, number in numbers.items():
        if not 0 <= number <= 1:
            raise ValueError(f"{name}: expected a number from 0 to 1, got {number}")
