"""What fake tensors answer when they are asked for values."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from rlhfkit.models.batch import make_batch
from rlhfkit.planning.worst_case import WorstCase, fake_tensors


@pytest.fixture
def faked():
    with fake_tensors(), WorstCase():
        yield


@pytest.mark.usefixtures("faked")
def test_numbers_of_fake_tensors_are_one():
    made = torch.zeros(3)
    assert isinstance(made, FakeTensor)
    assert made.tolist() == [1.0, 1.0, 1.0]
    assert float(made.sum()) == 1.0
    assert made.argmax().item() == 1


@pytest.mark.usefixtures("faked")
def test_a_mask_that_a_model_computed_is_full():
    mask = torch.zeros(2, 3) > 0
    assert mask.nonzero().shape == (6, 2)
    assert torch.zeros(2, 3, 5)[mask].shape == (6, 5)


@pytest.mark.usefixtures("faked")
def test_token_ids_and_masks_from_lengths_are_known():
    batch = make_batch([[5, 6], [7]], [[8, 2], [9]])
    assert batch.input_ids.tolist() == [[5, 6, 8, 2], [7, 9, 0, 0]]
    assert torch.zeros(2, 2, 4)[batch.response_mask].shape == (3, 4)


@pytest.mark.usefixtures("faked")
def test_a_fake_model_takes_no_memory_and_can_change_its_type():
    layer = nn.Linear(10**6, 10**6).to(torch.bfloat16)
    assert layer.weight.dtype is torch.bfloat16
    assert isinstance(layer.weight, nn.Parameter)
    assert layer(torch.zeros(2, 10**6, dtype=torch.bfloat16)).shape == (2, 10**6)


def test_modules_are_as_before_outside():
    apply = nn.Module._apply
    with fake_tensors():
        assert nn.Module._apply is not apply
    assert nn.Module._apply is apply
