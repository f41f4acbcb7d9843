"""rlhfkit.rl.aggregation: what each token of a mini-batch weighs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rlhfkit.rl.aggregation import token_weights

from .padding import batches

MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]]).bool()


@pytest.mark.parametrize(
    ("loss_type", "long", "short"),
    [("grpo", 1 / 8, 1 / 2), ("dapo", 1 / 5, 1 / 5), ("dr_grpo", 1 / 20, 1 / 20)],
)
def test_weights_of_literals(loss_type, long, short):
    found = token_weights(MASK, loss_type, responses=2, tokens=5, length=10)
    assert_close(found, torch.tensor([[long] * 4, [short, 0, 0, 0]]))


@given(batches, st.sampled_from(["grpo", "dapo"]))
@settings(max_examples=30, deadline=None)
def test_weights_of_a_mean_add_up_to_1(batch, loss_type):
    tokens = int(batch.mask.sum())
    weights = token_weights(batch.mask, loss_type, len(batch.lengths), tokens, 1)
    assert_close(weights.sum(), torch.tensor(1.0))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="loss_type: expected grpo, dapo or dr_grpo, got 'bnpo'"):
        token_weights(MASK, "bnpo", 2, 5, 10)
    with pytest.raises(ValueError, match="tokens: expected a finite number above 0"):
        token_weights(MASK, "dapo", 2, 0, 10)
    with pytest.raises(ValueError, match=r"mask_BT: expected torch\.bool"):
        token_weights(MASK.long(), "dapo", 2, 5, 10)
