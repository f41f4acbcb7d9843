"""Rankings of the same completions by several labelers: one element, one forward pass."""

import pytest
import torch
from transformers import LlamaForCausalLM

from rlhfkit.data.text_format import load_text_format
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import ScalarModel, fresh_head
from rlhfkit.stages.reward_model import Element, _elements, ranking_loss
from rlhfkit.testing import tiny
from rlhfkit.types import Ranking

PROMPT, COMPLETIONS = [5, 6, 7], [[8, 2], [9, 10, 2], [11]]
ORDERS = [[1, 2, 3], [2, 1, 2], [3, 1, 2]]


@pytest.fixture
def model():
    body = LanguageModel(LlamaForCausalLM(tiny.config()).eval())
    return ScalarModel(body, fresh_head(body.hidden_size))


def test_the_loss_is_the_mean_over_the_labelers(model):
    apart = [Element(PROMPT, COMPLETIONS, [ranks]) for ranks in ORDERS]
    together = [Element(PROMPT, COMPLETIONS, ORDERS)]
    losses = [ranking_loss(model, elements) for elements in (apart, together)]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=1e-7)
    gradients = [torch.autograd.grad(loss, model.head.weight)[0] for loss in losses]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


def test_the_model_runs_once_whatever_the_number_of_rankings(model):
    calls = []
    model.language_model.body.register_forward_hook(lambda *_: calls.append(1))
    ranking_loss(model, [Element(PROMPT, COMPLETIONS, ORDERS)])
    assert len(calls) == 1


def test_rankings_of_the_same_completions_come_together(make_context, tmp_path):
    tiny.language_model(tmp_path / "model")
    context = make_context(f"model.path={tmp_path / 'model'}", stage="reward_model")
    prompt = [{"role": "user", "content": "what is red"}]

    def ranking(completions, ranks):
        return Ranking(prompt, completions, ranks, [True, True], "someone")

    rows = _elements(
        context,
        load_text_format(context),
        [
            ranking(["I", "you"], [1, 2]),
            ranking(["I", "we"], [1, 2]),
            ranking(["I", "you"], [2, 1]),
        ],
    )
    assert rows["rankings"] == [[[1, 2], [2, 1]], [[1, 2]]]
