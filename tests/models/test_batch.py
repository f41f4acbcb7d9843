"""Batches of prompts and responses."""

import torch
from transformers import LlamaForCausalLM

from rlhfkit.models import language_model
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.planning.meter import MemoryMeter, Rates
from rlhfkit.planning.worst_case import fake_tensors
from rlhfkit.testing import tiny


def test_literal_batch():
    batch = make_batch([[5, 6], [7]], [[8, 9], [10]])
    assert batch.input_ids.tolist() == [[5, 6, 8, 9], [7, 10, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.response_ids.tolist() == [[8, 9], [10, 0]]
    assert batch.response_mask.tolist() == [[True, True], [True, False]]
    assert batch.state_index.tolist() == [[1, 2], [0, 0]]
    assert batch.last_index.tolist() == [3, 1]


def test_a_pad_token_inside_a_response_is_a_token():
    """A tokenizer whose pad token is its EOS token hides nothing."""
    batch = make_batch([[5]], [[2, 0, 2]])
    assert batch.response_mask.tolist() == [[True, True, True]]


def test_logprobs_are_those_of_the_full_logits():
    model = LanguageModel(LlamaForCausalLM(tiny.config()).eval())
    prompts, responses = [[5, 6, 7], [8]], [[9, 2], [10, 11, 12, 2]]
    logprobs, entropy = model.response_logprobs(make_batch(prompts, responses), temperature=0.5)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        logits = model.model(torch.tensor([prompt + response])).logits[0] / 0.5
        full = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
        wanted = full[range(len(response)), response]
        torch.testing.assert_close(logprobs[row, : len(response)], wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            entropy[row, : len(response)], -(full.exp() * full).sum(-1), rtol=1e-5, atol=1e-5
        )
    assert logprobs[0, 2:].tolist() == [0.0, 0.0]


def test_a_backward_pass_holds_one_chunk_of_logits(monkeypatch):
    """Also while the entropies are in use, whose graph would keep every chunk's."""
    vocabulary, peaks = 48, []
    monkeypatch.setattr(language_model, "CHUNK_LOGITS", 2 * vocabulary)
    for tokens in (8, 32):
        with fake_tensors(), MemoryMeter(vocabulary, Rates(1.0, 1.0)) as meter:
            model = LanguageModel(LlamaForCausalLM(tiny.config(vocab_size=vocabulary)))
            states = torch.randn(tokens, model.hidden_size, requires_grad=True)
            ids = torch.zeros(tokens, dtype=torch.long)
            with meter.phase("backward"):
                logprobs, _entropy = model.token_logprobs(states, ids)
                logprobs.sum().backward()
        peaks.append(meter.readings["backward"].peaks[True]["logits"])
    assert peaks[0] == peaks[1] > 0
