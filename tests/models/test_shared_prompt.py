"""Completions of a prompt in one row: the numbers and gradients of a row each."""

from functools import partial

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from rlhfkit.models.batch import make_batch
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import by_length, lower_rows, teacher_forced_logprobs
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.models.shared_prompt import worth_sharing
from rlhfkit.stages.reward_model import Element, ranking_loss
from tests import architectures
from tests.memory import limit_rows

ELEMENTS = [
    Element([5, 6, 7, 8, 9, 10, 11], [[12, 2], [13, 14, 15, 16, 17, 2], [2], [18]], [[1, 2, 2, 3]]),
    Element([19], [[20, 21, 22, 23, 24, 25, 2], [26, 2]], [[2, 1]]),
    Element([27, 28, 29], [[30, 31], [30, 32], [30, 31, 33]], [[3, 2, 1]]),
]
PROMPTS = [element.prompt for element in ELEMENTS for _ in element.completions]
COMPLETIONS = [ids for element in ELEMENTS for ids in element.completions]
EXACT = {"rtol": 1e-5, "atol": 1e-5}


def scalar_model(architecture, attention="sdpa"):
    torch.manual_seed(0)
    kind, options = architectures.ARCHITECTURES[architecture]
    config = kind(**{**architectures.SHAPE, **options})
    body = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    return ScalarModel(LanguageModel(body), nn.Linear(64, 1))


def batch_of(model, share):
    model.language_model.share_prompts = share
    batch = model.language_model.batch(PROMPTS, COMPLETIONS)
    assert len(batch.input_ids) == (3 if share else 9)
    return batch


def test_literal_batch():
    prompts = [[5, 6], [5, 6], [4], [4]]
    batch = make_batch(prompts, [[7], [8, 9], [3], [2]], share_prompts=True)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9], [4, 3, 2, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.response_ids.tolist() == [[7, 0], [8, 9], [3, 0], [2, 0]]
    assert batch.response_mask.tolist() == [[True, False], [True, True], *[[True, False]] * 2]
    assert batch.state_index.tolist() == [[1, 0], [1, 3], [0, 0], [0, 0]]
    assert batch.rows.tolist() == [0, 0, 1, 1]
    assert batch.last_index.tolist() == [2, 4, 1, 2]
    assert batch.shared.position_ids.tolist() == [[0, 1, 2, 2, 3], [0, 1, 1, 0, 0]]
    assert batch.shared.segments.tolist() == [[0, 0, 1, 2, 2], [0, 1, 2, -1, -1]]
    states = batch.sequences(batch.input_ids[..., None])
    assert [row[:, 0].tolist() for row in states] == [[5, 6, 7], [5, 6, 8, 9], [4, 3], [4, 2]]
    seen = batch.shared.mask()[0, 0].int().tolist()
    assert seen[2:] == [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    assert batch.shared.mask(window=2)[0, 0, 2:].int().tolist() == [
        [0, 1, 1, 0, 0],
        [0, 1, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]


def test_only_prompts_next_to_each_other_are_joined():
    batch = make_batch([[5], [6], [5]], [[7], [8], [9]], share_prompts=True)
    assert batch.input_ids.tolist() == [[5, 7], [6, 8], [5, 9]]
    assert batch.shared is None


def gradients(model, compute):
    """Of numbers weighed differently, so that no two completions can be mistaken."""
    found = compute()
    loss = (found * torch.linspace(-1.0, 1.0, found.numel()).view_as(found)).sum()
    parameters = model.trainable_parameters()
    return [
        item
        for item in torch.autograd.grad(loss, parameters, allow_unused=True)
        if item is not None
    ]


def numbers(model, share):
    """[N, 3T + 1] whatever is computed of a batch."""
    batch = batch_of(model, share)
    logprobs, entropy = model.language_model.response_logprobs(batch, 0.7)
    scores = model.scores(batch)[:, None]
    return torch.cat((logprobs, entropy, model.values(batch), scores), dim=1)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_numbers_and_gradients_are_the_same(architecture, attention):
    model = scalar_model(architecture, attention)
    plain, shared = partial(numbers, model, False), partial(numbers, model, True)
    torch.testing.assert_close(shared(), plain(), **EXACT)
    assert plain()[:, -1].std() > 0.01, "scores must differ for the comparison to tell"
    for one, other in zip(gradients(model, shared), gradients(model, plain), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_gradients_are_the_same_with_checkpoints_too():
    model = scalar_model("gemma3")
    before = gradients(model, partial(numbers, model, False))
    model.language_model.checkpoint_activations()
    after = gradients(model, partial(numbers, model, True))
    for one, other in zip(after, before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_mixed_precision_rounds_as_it_does_for_rows_apart(attention):
    model = scalar_model("llama", attention)
    exact = model.scores(batch_of(model, False)).detach()
    model.language_model.compute_dtype = torch.bfloat16
    errors = [
        float((model.scores(batch_of(model, share)).detach() - exact).abs().max())
        for share in (False, True)
    ]
    assert 0 < errors[1] < 2 * errors[0]


def test_only_what_is_less_work_is_shared():
    body = scalar_model("llama").language_model.body  # width 64: 384 pairs of tokens cost a token

    def sharing(*groups):
        prompts = [[number] * length for number, (length, *each) in enumerate(groups) for _ in each]
        return worth_sharing(body, prompts, [[6] * n for _, *each in groups for n in each])

    assert sharing((100, 10, 10, 10, 10))
    assert not sharing((2, 400, 400, 400, 400))
    assert not sharing((100, 10)), "a single completion shares with nobody"
    assert sharing((100, 10, 10, 10, 10), (1, 10, 10, 10, 10))
    assert not sharing((100, 1, 1), (1, *[99] * 9)), "by the longest row"


@pytest.mark.parametrize(
    ("name", "value"), [("model_type", "bloom"), ("_attn_implementation", "flash_attention_2")]
)
def test_models_not_known_to_obey_masks_repeat_the_prompt(name, value, monkeypatch):
    body = scalar_model("llama").language_model.body
    assert worth_sharing(body, PROMPTS, COMPLETIONS)
    monkeypatch.setattr(type(body.config), name, value)
    assert not worth_sharing(body, PROMPTS, COMPLETIONS)


def test_the_option_turns_it_off():
    model = scalar_model("llama")
    seen = limit_rows(model.language_model.body, most=9)
    losses = []
    for model.language_model.share_prompts in (True, False):
        losses.append(ranking_loss(model, ELEMENTS))
    assert seen == [3, 9]
    torch.testing.assert_close(*losses, **EXACT)


MIXED = [0, 4, 6, 1, 5, 2, 7, 8, 3]
"""Completions of a prompt apart from each other."""


def test_equal_prompts_come_together_in_order_of_their_longest():
    order, lengths = by_length([PROMPTS[n] for n in MIXED], [COMPLETIONS[n] for n in MIXED])
    assert [MIXED[place] for place in order] == [6, 7, 8, 4, 5, 0, 1, 2, 3]
    assert lengths == [6, 6, 6, 8, 8, 13, 13, 13, 13]


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_passes_without_gradients_share_too(size):
    """Log-probabilities and the states of lower layers, in whatever order completions come."""
    model = scalar_model("llama").language_model
    prompts, responses = [PROMPTS[n] for n in MIXED], [COMPLETIONS[n] for n in MIXED]
    seen = limit_rows(model.body, most=9)

    def found(share):
        model.share_prompts = share
        seen.clear()
        logprobs = teacher_forced_logprobs(
            model, prompts, responses, 0.7, AdaptiveBatchSize("", size)
        )
        lower = lower_rows(model, prompts, responses, 1, AdaptiveBatchSize("", size))
        onwards = teacher_forced_logprobs(
            model, prompts, responses, 0.7, AdaptiveBatchSize("", size), lower
        )
        return logprobs, lower.rows, onwards, sum(seen)

    apart, shared = found(False), found(True)
    for one, other in zip(apart[:3], shared[:3], strict=True):
        torch.testing.assert_close(one, other, **EXACT)
    assert apart[3] == 27
    assert shared[3] < 27
