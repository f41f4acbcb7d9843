"""What is loaded computes transformers' numbers, by the model's own code where that is needed."""

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.verification import verified
from tests.models import tiny_architectures

RUN = SimpleNamespace(dry_run=None)
PROMPTS, RESPONSES = [[45, 46], [47, 48, 49]], [[60, 61, 62], [63]]
BATCH = make_batch(PROMPTS, RESPONSES)


def plain_logprobs(model):
    """Of the responses' tokens, one sequence at a time, by the whole model's logits."""
    rows = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        logits = model(input_ids=torch.tensor([prompt + response]), use_cache=False).logits[0]
        logprobs = torch.log_softmax(logits / 0.7, -1)[len(prompt) - 1 : -1]
        rows.append(logprobs.gather(1, torch.tensor(response)[:, None])[:, 0])
    return torch.cat(rows)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("granite", True),  # logits divided
        ("cohere", True),  # multiplied
        ("falcon_h1", True),  # by a number that the body keeps
        ("modernbert-decoder", True),  # a layer before the head
        ("gemma2", False),  # a soft cap, which the chunked head knows
        ("llama4_text", False),  # a body by another name
        ("opt", False),  # a decoder in the body
    ],
)
def test_logprobs_and_gradients_are_those_of_transformers(name, own):
    model = tiny_architectures.model(name)
    loaded = verified(RUN, LanguageModel(model))
    assert loaded.own_head is own
    found = loaded.response_logprobs(BATCH, 0.7)[0][BATCH.response_mask]
    expected = plain_logprobs(model)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = [model.get_output_embeddings().weight, model.get_input_embeddings().weight]
    one, other = (
        torch.autograd.grad(item.square().sum(), weights, allow_unused=True)
        for item in (found, expected)
    )
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_an_adapter_on_the_head_counts():
    base = tiny_architectures.model("llama")
    model = get_peft_model(base, LoraConfig(target_modules=["lm_head"]))
    loaded = verified(RUN, LanguageModel(model, "default"))
    with torch.no_grad():
        for parameter in loaded.trainable_parameters():
            parameter += 0.1
    model.eval()
    found = loaded.response_logprobs(BATCH, 0.7)[0][BATCH.response_mask]
    torch.testing.assert_close(found, plain_logprobs(model), rtol=1e-4, atol=1e-4)


def test_a_model_that_looks_ahead_is_refused():
    with pytest.raises(UserError, match=r"BertLMHeadModel cannot be trained here.*tokens after it"):
        verified(RUN, LanguageModel(tiny_architectures.model("bert")))


def test_a_model_that_computes_otherwise_in_batches_is_refused(monkeypatch):
    model = tiny_architectures.model("llama")
    forward = model.model.forward

    def broken(input_ids, **options):
        return forward(input_ids if len(input_ids) == 1 else input_ids.flip(0), **options)

    monkeypatch.setattr(model.model, "forward", broken)
    with pytest.raises(UserError, match="log-probabilities differ from transformers' own"):
        verified(RUN, LanguageModel(model))


def test_a_pass_that_fails_is_one_line():
    model = tiny_architectures.model("llama")
    model.model.layers[0].mlp.up_proj.weight.data = torch.zeros(3, 3)
    with pytest.raises(UserError, match="LlamaForCausalLM cannot be trained here: RuntimeError"):
        verified(RUN, LanguageModel(model))


def test_nothing_is_drawn_and_nothing_changed():
    model = tiny_architectures.model("gpt2").train()
    state = torch.get_rng_state()
    verified(RUN, LanguageModel(model))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
