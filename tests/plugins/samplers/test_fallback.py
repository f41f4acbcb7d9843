"""A model that a sampler cannot drive is sampled in a way that can, and a line says so."""

from types import SimpleNamespace

import pytest
import torch

from rlhfkit.errors import UserError
from rlhfkit.models import probing
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.verification import verified
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig, ContinuousConfig, GenerateConfig, GraphConfig
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.continuous import ContinuousSampler
from rlhfkit_plugins.samplers.generate import GenerateSampler
from rlhfkit_plugins.samplers.graph import GraphSampler
from tests.models import tiny_architectures

PROMPTS = [[45, 46, 47, 48, 49], [50, 51], [50, 51]]


@pytest.fixture(autouse=True)
def unsaid():
    probing.say_once.cache_clear()


def loaded(name):
    return verified(SimpleNamespace(dry_run=None), LanguageModel(tiny_architectures.model(name)))


@torch.no_grad()
def require_exact(model, sampler):
    """Log-probabilities of samples are those of the forward pass, one sequence at a time."""
    drawn = sampler.sample(model, PROMPTS, Ends((2,)), torch.Generator().manual_seed(0))
    for prompt, response in zip(PROMPTS, drawn, strict=True):
        ids = torch.tensor([prompt + response.ids])
        logprobs = torch.log_softmax(model.model(input_ids=ids, use_cache=False).logits[0], -1)
        chosen = logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(response.ids)[:, None])
        found = torch.tensor(response.logprobs)
        torch.testing.assert_close(found, chosen[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen3_5_text", "falcon_h1", "lfm2"])
def test_caches_that_the_loop_drives(name, capsys):
    model, sampler = loaded(name), CachedSampler(CachedConfig(response_length=6))
    sampler = sampler.for_model(model)
    require_exact(model, sampler)
    assert capsys.readouterr().out == ""


def test_a_cache_that_is_not_taken_is_left_to_generate(capsys):
    model = loaded("mamba")
    for _stage in range(2):
        sampler = CachedSampler(CachedConfig(response_length=6))
        sampler = sampler.for_model(model)
    require_exact(model, sampler)
    said = capsys.readouterr().out
    assert said.count("MambaForCausalLM has a cache that this sampler cannot drive") == 1


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3_moe", "cohere"])
def test_models_whose_steps_are_recorded(name, capsys):
    model, sampler = loaded(name), GraphSampler(GraphConfig(response_length=6))
    sampler = sampler.for_model(model)
    require_exact(model, sampler)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["gemma3_text", "qwen3_5_text", "bloom", "mamba"])
def test_what_cannot_be_recorded_is_left_to_the_plain_loop(name, capsys):
    """Windows, recurrent states, ALiBi and no cache at all."""
    model, sampler = loaded(name), GraphSampler(GraphConfig(response_length=6))
    sampler = sampler.for_model(model)
    require_exact(model, sampler)
    assert f"sampler=graph: {type(model.base).__name__} has" in capsys.readouterr().out


def test_prompts_of_one_length_where_padding_is_read(capsys):
    model, sampler = loaded("rwkv"), GenerateSampler(GenerateConfig(response_length=4))
    sampler = sampler.for_model(model)
    assert (sampler.equal_lengths, sampler.use_cache) == (True, True)
    require_exact(model, sampler)
    assert "prompts of one length at a time only" in capsys.readouterr().out


def test_continuous_batching_that_forgets_alibi(capsys):
    model, sampler = loaded("bloom"), ContinuousSampler(ContinuousConfig(response_length=4))
    sampler = sampler.for_model(model)
    require_exact(model, sampler)
    assert "continuous batching does not know BloomForCausalLM" in capsys.readouterr().out


def test_what_no_way_follows_is_refused(monkeypatch):
    model = loaded("llama")
    monkeypatch.setattr(model.base, "generate", lambda **options: 1 / 0)
    with pytest.raises(UserError, match="LlamaForCausalLM: cannot be sampled from"):
        GenerateSampler(GenerateConfig()).for_model(model)
