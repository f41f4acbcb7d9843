"""Logits of a head in bfloat16 keep the float32 sums of their products."""

import json

import pytest

CODE = """
from tests.virtual_card import card
import json, torch
from rlhfkit.rl.logprobs import chunked_token_logprobs, token_logprobs

def numbers(trained, autocast):
    torch.manual_seed(0)
    hidden = torch.randn(12, 64).bfloat16().cuda().requires_grad_()
    weight = (torch.randn(300, 64) * 0.4).bfloat16().cuda()
    weight = (weight.float() if autocast else weight).requires_grad_(trained)
    ids = torch.arange(12, device="cuda") * 20
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        found, _ = chunked_token_logprobs(hidden, weight, None, ids, 0.7, 5)
    found.sum().backward()
    exact_hidden, exact_weight = (
        x.detach().double().cpu().requires_grad_() for x in (hidden, weight)
    )
    exact = token_logprobs((exact_hidden @ exact_weight.t())[None], ids.cpu()[None], 0.7)[0]
    exact.sum().backward()
    by_hidden = (hidden.grad.cpu() - exact_hidden.grad).abs().max()
    by_weight = (weight.grad.cpu() - exact_weight.grad).abs().max() if trained else 0.0
    off = (found.cpu() - exact).abs().max()
    return [str(found.dtype), float(off), float(by_hidden), float(by_weight)]

print(json.dumps([numbers(t, a) for t in (False, True) for a in (False, True)]))
"""


@pytest.fixture(scope="module")
def found(card_process):
    """Of a frozen and a trained head, of bfloat16 and of float32 weights under autocast."""
    return json.loads(card_process("-c", CODE))


@pytest.mark.parametrize("case", range(4))
def test_log_probabilities_are_exact_and_gradients_are_bfloat16s(found, case):
    dtype, off, by_hidden, by_weight = found[case]
    assert dtype == "torch.float32"
    assert off < 2e-5  # 0.05 where the logits are rounded to bfloat16
    assert by_hidden < 0.03
    assert by_weight < 0.03
