"""rlhfkit.rl.logprobs: the whole and the chunked form, their gradients and their memory."""

import math

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rlhfkit.rl.logprobs import chunked_token_logprobs, entropy, token_logprobs

ONE_TWO_ONE = torch.tensor([[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]).log()
IDS = torch.tensor([[0, 1]])
N, V, D = 7, 11, 3


def head(dtype=torch.float64):
    """Give hidden_ND, weight_VD, bias_V and ids_N; the first three want gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(N, D), (V, D), (V,)]
    floats = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]
    ids = torch.randint(V, (N,), generator=generator)
    return *(x.requires_grad_() for x in floats), ids


def test_token_logprobs_of_literals():
    expected = torch.tensor([[math.log(1 / 4), math.log(2 / 4)]])
    assert_close(token_logprobs(ONE_TWO_ONE, IDS), expected)


def test_temperature_divides_the_logits():
    expected = torch.tensor([[math.log(1 / 6), math.log(4 / 6)]])  # 1 : 4 : 1
    assert_close(token_logprobs(ONE_TWO_ONE, IDS, temperature=0.5), expected)


def test_entropy_of_literals():
    assert_close(entropy(ONE_TWO_ONE), torch.full((1, 2), 1.5 * math.log(2)))
    assert_close(entropy(torch.zeros(1, 1, 8)), torch.full((1, 1), math.log(8)))


def test_an_impossible_token_adds_no_entropy_and_no_nan():
    logits = torch.tensor([[[0.0, 0.0, -math.inf]]], requires_grad=True)
    result = entropy(logits)
    result.sum().backward()
    assert_close(result, torch.full((1, 1), math.log(2)))
    assert logits.grad.isfinite().all()


def test_half_precision_is_widened_first():
    logits = torch.linspace(-3, 3, 9, dtype=torch.bfloat16).reshape(1, 1, 9)
    ids = torch.tensor([[4]])
    for result in (token_logprobs(logits, ids), entropy(logits)):
        assert result.dtype == torch.float32
    assert torch.equal(token_logprobs(logits, ids), token_logprobs(logits.float(), ids))
    assert torch.equal(entropy(logits), entropy(logits.float()))


@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
def test_chunked_equals_unchunked_with_its_gradients(chunk_size, with_bias, softcap):
    hidden, weight, bias, ids = head()
    bias = bias if with_bias else None
    leaves = [x for x in (hidden, weight, bias) if x is not None]
    upstream = torch.linspace(-1, 2, N).double()

    logits = hidden @ weight.T + (0 if bias is None else bias)
    logits = logits if softcap is None else softcap * (logits / softcap).tanh()
    tempered = (logits / 0.8)[None]
    whole = token_logprobs(logits[None], ids[None], 0.8)[0], entropy(tempered)[0]
    chunked = chunked_token_logprobs(hidden, weight, bias, ids, 0.8, chunk_size, softcap)

    gradients = []
    for logprobs, _ in (whole, chunked):
        gradients.append(torch.autograd.grad(logprobs @ upstream, leaves))
    assert_close(chunked.logprobs_N, whole[0])
    assert_close(chunked.entropy_N, whole[1])
    assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_a_frozen_head_gives_the_same_without_a_second_pass(chunk_size, with_bias, softcap):
    hidden, weight, bias, ids = head()
    bias = bias if with_bias else None
    upstream = torch.linspace(-1, 2, N).double()
    trained = chunked_token_logprobs(hidden, weight, bias, ids, 0.8, chunk_size, softcap)
    wanted = torch.autograd.grad(trained.logprobs_N @ upstream, hidden)[0]

    frozen = None if bias is None else bias.detach()
    kept = []
    with saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        found = chunked_token_logprobs(
            hidden, weight.detach(), frozen, ids, 0.8, chunk_size, softcap
        )
    assert sum(kept) == N * D
    assert_close(found.logprobs_N, trained.logprobs_N)
    assert_close(found.entropy_N, trained.entropy_N)
    assert not found.entropy_N.requires_grad
    with LargestTensor() as largest:
        gradient = torch.autograd.grad(found.logprobs_N @ upstream, hidden)[0]
    assert_close(gradient, wanted)
    assert largest.numel <= N * D


@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_the_entropy_has_its_gradient_where_asked(chunk_size, frozen, softcap):
    hidden, weight, bias, ids = head()
    if frozen:
        weight, bias = weight.detach(), bias.detach()
    leaves = [x for x in (hidden, weight, bias) if x.requires_grad]
    upstream, bonus = torch.linspace(-1, 2, N).double(), torch.linspace(3, 1, N).double()

    logits = hidden @ weight.T + bias
    logits = logits if softcap is None else softcap * (logits / softcap).tanh()
    whole = token_logprobs(logits[None], ids[None], 0.8)[0], entropy((logits / 0.8)[None])[0]
    chunked = chunked_token_logprobs(
        hidden, weight, bias, ids, 0.8, chunk_size, softcap, entropy_gradient=True
    )
    gradients = [
        torch.autograd.grad(logprobs @ upstream + entropies @ bonus, leaves)
        for logprobs, entropies in (whole, chunked)
    ]
    assert_close(gradients[1], gradients[0])


def test_a_frozen_head_never_has_more_than_a_chunk_of_logits():
    hidden, weight, bias, ids = head()
    with LargestTensor() as largest:
        chunked_token_logprobs(hidden, weight.detach(), bias.detach(), ids, 1.0, 4)
    assert largest.numel == 4 * V


def test_a_frozen_bfloat16_head_gives_gradients_of_the_states_dtype():
    hidden, weight, bias, ids = (item.detach() for item in head(torch.bfloat16))
    for dtype in (torch.bfloat16, torch.float32):
        states = hidden.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            found = chunked_token_logprobs(states, weight, bias, ids, 1.0, 2)
        assert torch.autograd.grad(found.logprobs_N.sum(), states)[0].dtype == dtype


def test_softcap_comes_before_temperature():
    hidden, weight = torch.ones(1, 1), torch.tensor([[1.0], [100.0]])
    result = chunked_token_logprobs(hidden, weight, None, torch.tensor([0]), 2.0, 1, 2.0)
    logit = math.tanh(0.5)  # 2 tanh(1 / 2) / 2, against 2 tanh(100 / 2) / 2 = 1
    assert_close(result.logprobs_N, torch.tensor([logit - math.log(math.exp(logit) + math.e)]))


@pytest.mark.parametrize("softcap", [None, 0.7])
def test_the_head_keeps_its_dtype_and_the_rest_is_float32(softcap):
    hidden, weight, bias, ids = head(torch.bfloat16)
    result = chunked_token_logprobs(hidden, weight, bias, ids, 1.0, 2, softcap)
    logits = torch.nn.functional.linear(hidden, weight, bias).float()[None]
    logits = logits if softcap is None else softcap * (logits / softcap).tanh()
    assert result.logprobs_N.dtype == result.entropy_N.dtype == torch.float32
    assert_close(result.logprobs_N, token_logprobs(logits, ids[None])[0])


def test_nothing_wants_gradients_under_no_grad():
    with torch.no_grad():
        result = chunked_token_logprobs(*head(), 1.0, 2)
    assert not result.logprobs_N.requires_grad


class LargestTensor(TorchDispatchMode):
    """Record the size of the largest tensor that any operation puts out."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.numel = max(self.numel, *sizes, 0)
        return out


def test_no_more_than_a_chunk_of_logits_is_ever_computed():
    chunk_size = 4  # above D, so that the gradient of the weight is smaller than a chunk
    with LargestTensor() as largest:
        result = chunked_token_logprobs(*head(), 1.0, chunk_size)
        result.logprobs_N.sum().backward()
    assert largest.numel == chunk_size * V


def test_only_hidden_states_and_ids_are_kept_for_the_backward_pass():
    kept = []
    with saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        result = chunked_token_logprobs(*head(), 1.0, 1)
    assert result.logprobs_N.requires_grad
    assert sum(kept) == N * (D + 1)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"ids_BT: expected shape \[1, 2\], got \[1, 1\]"):
        token_logprobs(ONE_TWO_ONE, IDS[:, :1])
    with pytest.raises(ValueError, match=r"ids_BT: expected torch.int64"):
        token_logprobs(ONE_TWO_ONE, IDS.int())
    with pytest.raises(ValueError, match=r"logits_BTV: expected torch.bfloat16"):
        token_logprobs(ONE_TWO_ONE.long(), IDS)
    with pytest.raises(ValueError, match=r"temperature: expected a finite number above 0, got 0"):
        token_logprobs(ONE_TWO_ONE, IDS, temperature=0)
    with pytest.raises(ValueError, match="logits_BTV: expected the axes BTV"):
        entropy(ONE_TWO_ONE[0])
    with pytest.raises(ValueError, match=r"logits_BTV: expected torch.bfloat16"):
        entropy(ONE_TWO_ONE.long())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight_VD", torch.ones(V, D + 1), r"weight_VD: expected shape \[11, 3\], got \[11, 4\]"),
        ("weight_VD", torch.ones(V, D).int(), "weight_VD: expected torch.bfloat16"),
        ("bias_V", torch.ones(V + 1), "bias_V: expected shape"),
        ("ids_N", torch.zeros(N - 1).long(), "ids_N: expected shape"),
        ("ids_N", torch.zeros(N), "ids_N: expected torch.int64"),
        ("temperature", -1.0, "temperature: expected"),
        ("temperature", math.nan, "temperature: expected"),
        ("temperature", math.inf, "temperature: expected"),
        ("chunk_size", 0, "chunk_size: expected"),
        ("logit_softcap", 0.0, "logit_softcap: expected"),
    ],
)
def test_wrong_arguments_of_the_chunked_form(name, value, message):
    names = ("hidden_ND", "weight_VD", "bias_V", "ids_N")
    arguments = dict(zip(names, head(), strict=True), temperature=1.0, chunk_size=2)
    with pytest.raises(ValueError, match=message):
        chunked_token_logprobs(**{**arguments, name: value})
