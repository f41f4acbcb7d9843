"""Chunks do not pile up: the backward pass holds the logits of one, however many there are."""

import pytest
import torch

from rlhfkit.planning.meter import MemoryMeter, Rates
from rlhfkit.planning.worst_case import fake_tensors
from rlhfkit.rl.logprobs import chunked_token_logprobs

VOCABULARY, CHUNK = 5000, 10


def highest_logits(chunks):
    meter = MemoryMeter(VOCABULARY, Rates(1.0, 1.0))
    with fake_tensors(), meter, meter.phase("loss"):
        hidden = torch.zeros(CHUNK * chunks, 8, requires_grad=True)
        ids = torch.zeros(CHUNK * chunks, dtype=torch.long)
        weight = torch.zeros(VOCABULARY, 8)
        found = chunked_token_logprobs(hidden, weight, None, ids, 1.0, CHUNK)
        found.logprobs_N.sum().backward()
    return meter.readings["loss"].peaks[True]["logits"]


@pytest.mark.parametrize("chunks", [2, 8])
def test_more_chunks_take_no_more_memory(chunks):
    assert highest_logits(chunks) == highest_logits(1) > 0
