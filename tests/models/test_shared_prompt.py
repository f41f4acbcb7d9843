"""A prompt's completions in one row: the scores and gradients of a row each."""

from functools import partial

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.models.shared_prompt import make_shared_batch, shared_scores, worth_sharing
from rlhfkit.stages.reward_model import Element, ranking_loss, score_elements
from tests import architectures
from tests.memory import limit_rows

ELEMENTS = [
    Element([5, 6, 7, 8, 9, 10, 11], [[12, 2], [13, 14, 15, 16, 17, 2], [2], [18]], [[1, 2, 2, 3]]),
    Element([19], [[20, 21, 22, 23, 24, 25, 2], [26, 2]], [[2, 1]]),
    Element([27, 28, 29], [[30, 31], [30, 32], [30, 31, 33]], [[3, 2, 1]]),
]
PARTS = [element.prompt for element in ELEMENTS], [element.completions for element in ELEMENTS]
EXACT = {"rtol": 1e-5, "atol": 1e-5}


def scalar_model(architecture, attention="sdpa"):
    torch.manual_seed(0)
    kind, options = architectures.ARCHITECTURES[architecture]
    config = kind(**{**architectures.SHAPE, **options})
    body = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    return ScalarModel(LanguageModel(body), nn.Linear(64, 1))


def repeated_scores(model):
    return torch.cat(list(score_elements(model, ELEMENTS, share_prompts=False)))


def test_literal_batch():
    batch = make_shared_batch([[5, 6], [4]], [[[7], [8, 9]], [[3], [2]]])
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9], [4, 3, 2, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 2, 3], [0, 1, 1, 0, 0]]
    assert batch.segments.tolist() == [[0, 0, 1, 2, 2], [0, 1, 2, -1, -1]]
    assert batch.rows.tolist() == [0, 0, 1, 1]
    assert batch.last_index.tolist() == [2, 4, 1, 2]
    seen = batch.mask()[0, 0].int().tolist()
    assert seen[2:] == [[1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    assert batch.mask(window=2)[0, 0, 2:].int().tolist() == [
        [0, 1, 1, 0, 0],
        [0, 1, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]


def gradients(model, compute):
    """Of scores weighed differently, so that no two completions can be mistaken."""
    scores = compute()
    loss = (scores * torch.linspace(-1.0, 1.0, len(scores))).sum()
    found = torch.autograd.grad(loss, model.trainable_parameters(), allow_unused=True)
    return [item for item in found if item is not None]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_scores_and_gradients_are_the_same(architecture, attention):
    model = scalar_model(architecture, attention)
    assert worth_sharing(model.language_model.body, *PARTS)
    plain, shared = partial(repeated_scores, model), partial(shared_scores, model, *PARTS)
    torch.testing.assert_close(shared(), plain(), **EXACT)
    assert plain().std() > 0.01, "scores must differ for the comparison to tell"
    for one, other in zip(gradients(model, shared), gradients(model, plain), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_gradients_are_the_same_with_checkpoints_too():
    model = scalar_model("gemma3")
    before = gradients(model, partial(repeated_scores, model))
    model.language_model.checkpoint_activations()
    after = gradients(model, partial(shared_scores, model, *PARTS))
    for one, other in zip(after, before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_mixed_precision_rounds_as_it_does_for_rows_apart(attention):
    model = scalar_model("llama", attention)
    exact = repeated_scores(model).detach()
    model.language_model.compute_dtype = torch.bfloat16
    errors = [
        float((scores.detach() - exact).abs().max())
        for scores in (repeated_scores(model), shared_scores(model, *PARTS))
    ]
    assert 0 < errors[1] < 2 * errors[0]


def test_only_what_is_less_work_is_shared():
    body = scalar_model("llama").language_model.body  # width 64: 384 pairs of tokens cost a token
    sharing = partial(worth_sharing, body)
    assert sharing([[5] * 100], [[[6] * 10] * 4])
    assert not sharing([[5] * 2], [[[6] * 400] * 4])
    assert not sharing([[5] * 100], [[[6] * 10]]), "a single completion shares with nobody"
    assert sharing([[5] * 100, [5]], [[[6] * 10] * 4] * 2)
    assert not sharing([[5] * 100, [5]], [[[6]] * 2, [[6] * 99] * 9]), "by the longest row"


@pytest.mark.parametrize(
    ("name", "value"), [("model_type", "bloom"), ("_attn_implementation", "flash_attention_2")]
)
def test_models_not_known_to_obey_masks_repeat_the_prompt(name, value, monkeypatch):
    body = scalar_model("llama").language_model.body
    assert worth_sharing(body, *PARTS)
    monkeypatch.setattr(type(body.config), name, value)
    assert not worth_sharing(body, *PARTS)


def test_the_option_turns_it_off():
    model = scalar_model("llama")
    seen = limit_rows(model.language_model.body, most=9)
    losses = [ranking_loss(model, ELEMENTS, share_prompts=share) for share in (True, False)]
    assert seen == [3, 9]
    torch.testing.assert_close(*losses, **EXACT)
