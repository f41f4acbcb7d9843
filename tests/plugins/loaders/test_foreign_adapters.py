"""Adapters that others made: they count as PEFT counts them, or are refused in one line."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from rlhfkit.errors import UserError
from rlhfkit.models.merging import merges_exactly
from tests import architectures
from tests.plugins.loaders import separate
from tests.plugins.loaders.conftest import perturb
from tests.plugins.loaders.test_architectures import BATCH, PROMPTS, RESPONSES, plain_logprobs

KINDS = {
    "some tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6, 7]},
    "tied embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "tied head": {"target_modules": ["q_proj", "lm_head"]},
    "biases": {"target_modules": ["q_proj"], "lora_bias": True},
}


def write(path, options):
    """A base with tied embeddings, and an adapter on it."""
    architectures.write(path / "base", "llama")
    model = AutoModelForCausalLM.from_pretrained(path / "base")
    model = get_peft_model(model, LoraConfig(**options))
    perturb([item for item in model.parameters() if item.requires_grad], 1, scale=0.2)
    model.save_pretrained(path / "adapter")


@pytest.mark.parametrize("loader", ["lora", "qlora"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trainable", [False, True])
def test_numbers_are_those_of_peft(make_context, tmp_path, loader, kind, trainable):
    write(tmp_path, KINDS[kind])
    built = make_context(f"loader={loader}", f"model.path={tmp_path / 'base'}").build("loader")
    model = built.language_model(str(tmp_path / "adapter"), trainable=trainable)
    plain = separate.adapted(tmp_path / "base", tmp_path / "adapter", loader).eval()
    model.model.eval()
    found = model.response_logprobs(BATCH)[0].detach()
    for row, *pair in zip(found, PROMPTS, RESPONSES, strict=True):
        expected = plain_logprobs(plain, *pair, 1.0)
        torch.testing.assert_close(row[: len(expected)], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "exact"), [("some tokens", True), ("tied embedding", False), ("biases", False)]
)
def test_what_can_be_merged(tmp_path, kind, exact):
    write(tmp_path, KINDS[kind])
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    assert merges_exactly(PeftModel.from_pretrained(base, tmp_path / "adapter")) is exact


def test_tokens_before_every_text_are_refused(make_context, tmp_path):
    write(tmp_path, KINDS["biases"])
    file = tmp_path / "adapter" / "adapter_config.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "peft_type": "PROMPT_TUNING"}))
    built = make_context("loader=lora", f"model.path={tmp_path / 'base'}").build("loader")
    with pytest.raises(UserError, match="a PROMPT_TUNING adapter puts tokens of its own before"):
        built.language_model(str(tmp_path / "adapter"))
