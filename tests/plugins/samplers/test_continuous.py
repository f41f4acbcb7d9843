"""sampler=continuous: one manager for all calls, which never answers by weights of before."""

import pytest
import torch
from transformers import LlamaForCausalLM
from transformers.generation.continuous_batching import continuous_api

from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import ContinuousConfig
from rlhfkit_plugins.samplers.continuous import ContinuousSampler

ENDS = Ends((2,))
PROMPTS = [[*range(5, 18)], [8], [*range(5, 18)], [9, 10, 11]]
"""Prompts of more than a page, which the manager reads once."""


@pytest.fixture
def model():
    return LanguageModel(LlamaForCausalLM(tiny.config()).eval().requires_grad_(False))


@pytest.fixture
def caches(monkeypatch):
    """The caches that were made."""
    made = []

    class Counted(continuous_api.PagedAttentionCache):
        def __init__(self, *args, **options):
            made.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(continuous_api, "PagedAttentionCache", Counted)
    return made


def make():
    return ContinuousSampler(ContinuousConfig(response_length=8, batch_size=4, page_size=4))


def draw(sampler, model, prompts=PROMPTS, ends=ENDS, seed=0):
    return sampler.sample(model, prompts, ends, torch.Generator().manual_seed(seed))


def require_exact(model, drawn):
    batch = make_batch(PROMPTS, [response.ids for response in drawn])
    expected, _ = model.response_logprobs(batch)
    for response, row in zip(drawn, expected.tolist(), strict=True):
        assert response.logprobs == pytest.approx(row[: len(response.ids)], abs=1e-4)


def test_a_kept_manager_answers_as_a_new_one_and_follows_the_weights(model, caches, monkeypatch):
    sampler = make()
    first = draw(sampler, model)
    require_exact(model, first)
    before = torch.get_rng_state()
    assert draw(sampler, model, seed=1) != first == draw(sampler, model)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        for parameter in model.base.parameters():
            parameter.mul_(1.5)
    monkeypatch.setattr(model, "hidden_states", None)  # no second pass
    changed = draw(sampler, model)
    assert len(caches) == 1
    monkeypatch.undo()
    require_exact(model, changed)
    assert changed == draw(make(), model) != first
    assert model.base.config._attn_implementation == "sdpa"


def test_longer_prompts_and_other_ends_get_a_manager_of_their_own(model, caches):
    sampler = make()
    draw(sampler, model, [[8]])
    assert [len(item.ids) for item in draw(sampler, model, [[*range(5, 45)]] * 4, Ends((63,)))]
    draw(sampler, model, [[8]], Ends((63,)))
    assert len(caches) == 2
    draw(sampler, model, [[8]])
    assert len(caches) == 3
    del sampler  # and what it kept
    assert not hasattr(model.base, "_cached_continuous_batching_manager")
