"""All samplers of this process: distribution, log-probabilities, early ends, reproducibility."""

import math

import pytest
import torch
from transformers import LlamaForCausalLM

from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.planning.phases import different_prompts
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig, ContinuousConfig, GenerateConfig, cached
from rlhfkit_plugins.samplers.cached import CachedSampler, draw
from rlhfkit_plugins.samplers.continuous import ContinuousSampler
from rlhfkit_plugins.samplers.generate import GenerateSampler

EOS = 2
ENDS = Ends((EOS,))
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6], [7, 7, 7, 7]]
KINDS = [
    (CachedSampler, CachedConfig),
    (GenerateSampler, GenerateConfig),
    (ContinuousSampler, ContinuousConfig),
]


@pytest.fixture(scope="module")
def model():
    return LanguageModel(LlamaForCausalLM(tiny.config()).eval().requires_grad_(False))


def sample(kind, config, model, prompts=PROMPTS, seed=0, ends=ENDS, **options):
    sampler = kind(config(**{"response_length": 12, "batch_size": 3, **options}))
    return sampler.sample(model, prompts, ends, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kind", "config"), KINDS)
def test_a_response_ends_at_any_of_several_ends(model, kind, config):
    """At tokens, and at texts, which may take several."""
    letters = lambda ids: "".join(chr(ord("A") + token % 4) for token in ids)  # noqa: E731
    ends = Ends((EOS, 7, 60), ("BADB",), letters)
    responses = sample(kind, config, model, prompts=PROMPTS * 40, ends=ends, batch_size=100)
    found = {response.ids[-1] for response in responses if response.ended}
    assert found > {EOS, 7, 60}
    for response in responses:
        assert not {EOS, 7, 60} & {*response.ids[:-1]}
        assert "BADB" not in letters(response.ids[:-1])
        stopped = response.ids[-1] in (EOS, 7, 60) or "BADB" in letters(response.ids)
        assert response.ended == stopped
        assert stopped or len(response.ids) == 12
        assert len(response.logprobs) == len(response.ids)


def test_order_and_neighbours_do_not_change_the_distribution_of_logprobs(model):
    alone = sample(CachedSampler, CachedConfig, model, prompts=[PROMPTS[2]])
    batch = make_batch([PROMPTS[2]], [alone[0].ids])
    padded = make_batch(PROMPTS, [alone[0].ids] * 5)
    single, _ = model.response_logprobs(batch)
    among, _ = model.response_logprobs(padded)
    torch.testing.assert_close(single[0], among[2], rtol=1e-4, atol=1e-5)


class Identity(LanguageModel):
    """Its states are its logits."""

    def __init__(self, vocabulary):
        self.head, self.logit_softcap = torch.nn.Linear(vocabulary, vocabulary, bias=False), None
        self.head.weight = torch.nn.Parameter(torch.eye(vocabulary), requires_grad=False)
        self._offload = self.compute_dtype = None


def test_draws_follow_the_softmax():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(20000, 3)
    drawn, _ = draw(Identity(3), logits, 1.0, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=3) / 20000
    torch.testing.assert_close(share, torch.softmax(logits[0], -1), atol=0.012, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_chunks_of_logits_do_not_change_the_draws(model, monkeypatch, rows, temperature):
    whole = sample(CachedSampler, CachedConfig, model, PROMPTS * 3, temperature=temperature)
    most, logits = [], model.logits
    monkeypatch.setattr(model, "logits", lambda hidden: most.append(len(hidden)) or logits(hidden))
    monkeypatch.setattr(cached, "CHUNK_LOGITS", 64 * rows)
    chunked = sample(CachedSampler, CachedConfig, model, PROMPTS * 3, temperature=temperature)
    assert max(most) == rows
    for one, other in zip(whole, chunked, strict=True):
        assert one.ids == other.ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


@torch.no_grad()
def test_the_draws_are_those_of_the_plain_formula(model):
    hidden = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    tokens, logprobs = draw(model, hidden, 0.7, torch.Generator().manual_seed(2))
    logits = model.logits(hidden) / 0.7
    uniform = torch.rand(5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    below = torch.softmax(logits.double(), -1).cumsum(-1) <= uniform[:, None]
    expected = below.sum(-1)
    assert tokens.tolist() == expected.tolist()
    torch.testing.assert_close(logprobs, torch.log_softmax(logits, -1)[range(5), expected])


REPEATED = [prompt for prompt in PROMPTS for _ in range(3)]


@pytest.mark.parametrize("prompts", [REPEATED, REPEATED[::2] + PROMPTS, PROMPTS])
def test_equal_prompts_are_read_once_and_answered_the_same(model, monkeypatch, prompts):
    read, hidden_states = [], model.hidden_states

    def counted(input_ids, *rest):
        read.append(tuple(input_ids.shape))
        return hidden_states(input_ids, *rest)

    monkeypatch.setattr(model, "hidden_states", counted)
    options = {"batch_size": len(prompts), "temperature": 0.8}
    monkeypatch.setattr(model, "share_prompts", False)
    apart = sample(CachedSampler, CachedConfig, model, prompts, **options)
    assert read[0] == (len(prompts), 5)
    read.clear()
    monkeypatch.setattr(model, "share_prompts", True)
    shared = sample(CachedSampler, CachedConfig, model, prompts, **options)
    assert read[0] == (len(PROMPTS), 5)
    for one, other in zip(apart, shared, strict=True):
        assert one.ids == other.ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_a_plan_counts_prompts_that_cannot_be_shared():
    prompts = different_prompts(4, 3)
    assert len({tuple(prompt) for prompt in prompts}) == 4
    assert [len(prompt) for prompt in prompts] == [3] * 4


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 1), (0.5, 1), (1 - 5e-10, 2), (1 - 1e-12, 3)])
def test_rare_tokens_behind_common_ones_can_be_drawn(uniform, token):
    logits = torch.tensor([[-torch.inf, 0.0, math.log(1e-9), math.log(1e-10)]])
    drawn, _ = cached._draw(logits, torch.tensor([[uniform]], dtype=torch.float64))
    assert drawn.tolist() == [token]


@pytest.mark.parametrize("option", ["temperature", "response_length", "batch_size"])
def test_options_outside_their_meaning(option):
    for _, config in KINDS:
        with pytest.raises(UserError, match=rf"sampler\.{option}=0: must be"):
            config(**{option: 0}).check("sampler")
