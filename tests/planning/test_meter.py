"""What the meter counts, on computations whose memory is known to the byte."""

import pytest
import torch

from rlhfkit.planning.meter import MemoryMeter, Rates
from rlhfkit.planning.worst_case import fake_tensors

VOCABULARY = 50


@pytest.fixture
def meter():
    made = MemoryMeter(VOCABULARY, Rates(flops=1000.0, bytes=100.0))
    with fake_tensors(), made:
        yield made


def peak(meter, name="phase"):
    return max(meter.readings[name].peaks.values(), key=lambda parts: parts.total())


def test_a_tensor_counts_while_it_is_referred_to(meter):
    with meter.phase("phase"):
        one = torch.zeros(1000)
        view = one.view(10, 100).t()
        del one
        assert meter.live.total() == 4000
        del view
        two = torch.zeros(500, dtype=torch.bfloat16)
    assert meter.live.total() == two.nbytes == 1000
    assert peak(meter).total() == 4000


def test_the_graph_keeps_what_backward_needs(meter):
    weight = torch.zeros(100, 100, requires_grad=True)
    with meter.phase("phase"):
        x = torch.zeros(10, 100)
        loss = (x @ weight).relu().sum()
        assert meter.live.total() == 40_000 + 4000 + 4000 + 4  # weight, x, relu's result, the sum
        loss.backward()
    assert peak(meter).total() >= 2 * 40_000  # the weight and its gradient


def test_parts(meter):
    with meter.counting_as("base"):
        base = torch.zeros(100)
    adapter = torch.zeros(10)
    meter.mark(adapter, "adapters")
    logits = torch.zeros(3, VOCABULARY)
    keys = torch.cat([torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 1, 4)], dim=-2)
    expected = {"base": 400, "adapters": 40, "logits": 600, "KV cache": 128, "activations": 0}
    assert {part: meter.live[part] for part in expected} == expected
    del base, adapter, logits, keys
    assert meter.live.total() == 0


def test_moments_with_and_without_logits_are_kept_apart(meter):
    with meter.phase("phase"):
        hidden = torch.zeros(100)
        logits = torch.zeros(1, VOCABULARY)
        del logits, hidden
        hidden = torch.zeros(150)
        del hidden
    peaks = meter.readings["phase"].peaks
    assert (peaks[False].total(), peaks[True].total()) == (600, 600)
    assert peaks[True]["logits"] == 200


def test_phases_start_from_what_is_live(meter):
    kept = torch.zeros(100)
    with meter.phase("first"):
        torch.zeros(1000)
    with meter.phase("second"):
        meter.next_phase("third")
        torch.zeros(10)
    assert peak(meter, "first").total() == 4400
    assert peak(meter, "second").total() == kept.nbytes
    assert peak(meter, "third").total() == 440


def test_time_is_what_the_slower_of_the_two_takes(meter):
    with meter.phase("phase"):
        one = torch.zeros(2, 4)  # 32 bytes written
        one @ torch.zeros(4, 3)  # 48 bytes written; 48 operations; 104 bytes read and written
        one + 1  # 64 bytes
    assert meter.readings["phase"].seconds == pytest.approx(0.32 + 0.48 + 1.04 + 0.64)
