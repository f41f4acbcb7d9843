"""Products by oneDNN: those of torch's own, with its gradients, and nothing where it is no gain."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from rlhfkit.rl import onednn
from rlhfkit.rl.logprobs import chunked_token_logprobs
from rlhfkit.rl.onednn import linear, use_onednn

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="NOT TESTED: PyTorch without oneDNN"
)

WIDE, NARROW = 384, 256


@pytest.fixture(autouse=True)
def products(monkeypatch):
    """On every processor as on AMD's; gives how many rows oneDNN has multiplied each time."""
    found, own = [], onednn._multiply

    def counted(rows, *rest):
        found.append(rows.shape)
        return own(rows, *rest)

    monkeypatch.setattr(onednn, "is_faster", lambda: True)
    monkeypatch.setattr(onednn, "_multiply", counted)
    return found


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parts(rows, bias=True):
    weight = normal(WIDE, NARROW, seed=1)
    return rows, weight, normal(WIDE, seed=2) if bias else None


def close(found, expected):
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, NARROW), (7, NARROW), (700, NARROW), (3, 5, NARROW)])
def test_the_product_is_torchs(products, shape, bias):
    rows, weight, added = parts(normal(*shape), bias)
    expected = rows.double() @ weight.double().t() + (added.double() if bias else 0)
    close(linear(rows, weight, added), expected)
    assert products == [torch.Size(shape)]


def test_rows_that_lie_apart_and_a_turned_weight(products):
    rows, weight = normal(NARROW, 9).t(), normal(NARROW, WIDE, seed=1).t()
    close(linear(rows, weight), rows.double() @ weight.double().t())
    assert len(products) == 1


@pytest.mark.parametrize("trained", [("rows",), ("weight",), ("bias",), ("rows", "weight", "bias")])
def test_gradients_are_torchs(products, trained):
    by_name = dict(zip(("rows", "weight", "bias"), parts(normal(2, 6, NARROW)), strict=True))
    ours = {name: value.clone().requires_grad_(name in trained) for name, value in by_name.items()}
    own = {name: value.double().requires_grad_(name in trained) for name, value in by_name.items()}
    scale = normal(2, 6, WIDE, seed=3)
    (linear(*ours.values()) * scale).sum().backward()
    (functional.linear(*own.values()) * scale.double()).sum().backward()
    for name in by_name:
        assert (ours[name].grad is None) == (own[name].grad is None) == (name not in trained)
        if name in trained:
            close(ours[name].grad, own[name].grad)
    assert len(products) == 1 + ("rows" in trained) + ("weight" in trained)


def test_a_gradient_that_is_one_number_for_all(products):
    rows = normal(5, NARROW).requires_grad_()
    weight = normal(WIDE, NARROW, seed=1)
    linear(rows, weight).sum().backward()
    close(rows.grad, weight.double().sum(0).expand(5, -1))
    assert len(products) == 2


@pytest.mark.parametrize(
    ("rows", "weight"),
    [
        (normal(4, 8), normal(8, 8)),
        (normal(NARROW), normal(WIDE, NARROW)),
        (normal(0, NARROW), normal(WIDE, NARROW)),
        (normal(4, NARROW).double(), normal(WIDE, NARROW).double()),
        (normal(4, NARROW).bfloat16(), normal(WIDE, NARROW).bfloat16()),
    ],
    ids=["small", "one row", "no rows", "float64", "bfloat16"],
)
def test_others_are_multiplied_by_torch(products, rows, weight):
    assert torch.equal(linear(rows, weight), functional.linear(rows, weight))
    assert products == []


def test_autocast_computes_in_its_own_type(products):
    rows, weight, bias = parts(normal(4, NARROW))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(rows, weight, bias).dtype is torch.bfloat16
    assert products == []


@pytest.mark.parametrize(
    ("name", "avx512", "faster"),
    [("AMD EPYC", True, True), ("AMD EPYC", False, False), ("Intel(R) Xeon(R)", True, False)],
)
def test_processors_that_mkl_knows_keep_torchs_own(monkeypatch, name, avx512, faster):
    monkeypatch.undo()
    known = {"cpu_name": name, "avx512_f": avx512}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert onednn.is_faster.__wrapped__() is faster


def test_only_large_linear_layers_of_a_model_change(products):
    model = nn.Sequential(
        nn.Linear(NARROW, WIDE), nn.Linear(WIDE, 4), nn.Linear(NARROW, WIDE).bfloat16()
    )
    use_onednn(model)
    assert [("forward" in vars(layer)) for layer in model] == [True, False, False]
    rows = normal(3, NARROW)
    close(model[0](rows), functional.linear(rows, model[0].weight, model[0].bias))
    assert len(products) == 1
    other = copy.deepcopy(model[0])
    other.weight.data.zero_()
    assert torch.equal(other(rows), other.bias.expand(3, -1))


@pytest.mark.parametrize("trained", [True, False])
def test_the_head_uses_it(products, trained):
    rows, weight, bias = parts(normal(5, NARROW))
    ids = torch.arange(5)
    found, own = rows.clone().requires_grad_(), rows.double().requires_grad_()
    weight.requires_grad_(trained)
    ours = chunked_token_logprobs(found, weight, bias, ids, 0.7, 2).logprobs_N
    logits = functional.linear(own, weight.detach().double(), bias.double()) / 0.7
    expected = torch.log_softmax(logits, -1).gather(-1, ids[:, None])[:, 0]
    ours.sum().backward()
    expected.sum().backward()
    close(ours, expected)
    close(found.grad, own.grad)
    assert len(products) >= 6
