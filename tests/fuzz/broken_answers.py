"""What reward functions and labelers of others may return, for two completions."""

import math
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import torch

from rlhfkit.types import Judgement

NO_LIST = "and no list of numbers"
NOT_FINITE = "which is not finite"


class Unlike:
    """Has a length and nothing else."""

    def __len__(self) -> int:
        return 2


def _forgets() -> Iterator[float]:
    yield 1.0


REWARDS: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, NO_LIST),
    "a number": (lambda: 1.0, NO_LIST),
    "not a number": (lambda: math.nan, NO_LIST),
    "a flag": (lambda: True, NO_LIST),
    "a text of numbers": (lambda: "12", NO_LIST),
    "bytes": (lambda: b"12", NO_LIST),
    "an object": (lambda: {"a": 1.0, "b": 2.0}, NO_LIST),
    "an object of numbers": (lambda: {0: 1.0, 1: 2.0}, NO_LIST),
    "a set": (lambda: {1.0, 2.0}, NO_LIST),
    "the function": (lambda: len, NO_LIST),
    "something with a length": (Unlike, NO_LIST),
    "a tensor of no axis": (lambda: torch.tensor(1.0), NO_LIST),
    "an array of no axis": (lambda: np.array(1.0), NO_LIST),
    "an empty list": (list, "returned 0 numbers for 2 completions"),
    "one too few": (lambda: [1.0], "returned 1 number for 2 completions"),
    "one too many": (lambda: [1.0] * 3, "returned 3 numbers for 2 completions"),
    "a batch for each": (lambda: [[1.0, 2.0]], "returned 1 number for 2 completions"),
    "a tensor too long": (lambda: torch.zeros(5), "returned 5 numbers for 2 completions"),
    "a generator too short": (_forgets, "returned 1 number for 2 completions"),
    "a generator without end": (lambda: repeat(1.0), "returned 3 numbers for 2 completions"),
    "nothing among them": (lambda: [1.0, None], "returned None for completion 2 of 2"),
    "no number among them": (lambda: [1.0, math.nan], "returned nan for completion 2 of 2"),
    "infinity": (lambda: [math.inf, 1.0], "returned inf for completion 1 of 2"),
    "minus infinity": (lambda: [1.0, -math.inf], "returned -inf for completion 2 of 2"),
    "more than float32 holds": (lambda: [1e300, 1.0], NOT_FINITE),
    "an integer beyond all": (lambda: [10**400, 1], NOT_FINITE),
    "texts": (lambda: ["good", "bad"], "returned 'good' for completion 1 of 2"),
    "texts of numbers": (lambda: ["1.0", "2.0"], "returned '1.0' for completion 1 of 2"),
    "empty texts": (lambda: ["", ""], "returned '' for completion 1 of 2"),
    "lists": (lambda: [[1.0], [2.0]], "returned [1.0] for completion 1 of 2"),
    "objects": (lambda: [{"score": 1.0}] * 2, "for completion 1 of 2"),
    "tuples of score and reason": (lambda: [(1.0, "ok"), (2.0, "ok")], "for completion 1 of 2"),
    "complex numbers": (lambda: [1j, 2j], "for completion 1 of 2"),
    "functions": (lambda: [len, len], "for completion 1 of 2"),
    "a tensor of two axes": (lambda: torch.zeros(2, 2), "for completion 1 of 2"),
    "a tensor with no number": (lambda: torch.tensor([1.0, math.nan]), "for completion 2 of 2"),
    "an array with infinity": (lambda: np.array([1.0, np.inf]), "for completion 2 of 2"),
    "a long text": (lambda: ["x" * 9999, 1.0], "for completion 1 of 2"),
    "lines": (lambda: ["a\nb", 1.0], "returned 'a\\nb' for completion 1 of 2"),
}


def _ranks(*ranks: Any) -> list[list[Any]]:
    return [[Judgement(list(ranks), "x")]]


NO_RANKS = "one whole number each is needed"
LABELERS: dict[str, tuple[Any, str]] = {
    "nothing": (None, "gave None for 1 prompt"),
    "a generator": (iter(_ranks(1, 2)), "> for 1 prompt"),
    "no prompt": ([], "ranked 0 of 1 prompt"),
    "a prompt too many": (_ranks(1, 2) * 2, "ranked 2 of 1 prompt"),
    "nothing of a prompt": ([None], "gave no judgement of prompt 1"),
    "an empty pool": ([[]], "gave no judgement of prompt 1"),
    "no list of a pool": ([Judgement([1, 2], "x")], "gave no judgement of prompt 1"),
    "a list of ranks": ([[[1, 2]]], NO_RANKS),
    "a text": ([["first"]], NO_RANKS),
    "no ranks": ([[Judgement(None, "x")]], NO_RANKS),  # type: ignore[arg-type]
    "too few ranks": (_ranks(1), NO_RANKS),
    "too many ranks": (_ranks(1, 2, 3), NO_RANKS),
    "ranks of text": (_ranks("1", "2"), NO_RANKS),
    "ranks of halves": (_ranks(1.5, 2.5), NO_RANKS),
    "ranks that are no number": (_ranks(math.nan, 1), NO_RANKS),
    "ranks that are flags": (_ranks(True, False), NO_RANKS),
    "ranks beyond int64": (_ranks(1, 2**64), NO_RANKS),
    "ranks in a tensor": ([[Judgement(torch.tensor([1, 2]), "x")]], NO_RANKS),  # type: ignore[arg-type]
    "a rank that is nothing": (_ranks(1, None), NO_RANKS),
}
