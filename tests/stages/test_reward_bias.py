"""The bias of the reward model, and the interval of its accuracy: on literal and counted values."""

import json

import pytest
import torch
from transformers import LlamaForCausalLM

from rlhfkit.data.text_format import load_text_format
from rlhfkit.intervals import ratio_interval
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import ScalarModel, fresh_head
from rlhfkit.stages import summaries
from rlhfkit.stages.reward_model import _normalise
from rlhfkit.testing import tiny

TEXTS = ["red"] * 70 + ["it is fine"] * 30
"""Sorted, as files often are: the first 64 are alike."""


@pytest.fixture
def shifted(make_context, tmp_path):
    """`shifted("stage.reward_model.normalise_on=8")`: the result, and both texts' new scores."""
    tiny.language_model(tmp_path / "base")
    rows = [{"prompt": "what colour", "completion": text} for text in TEXTS]
    file = tmp_path / "demonstrations.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*overrides):
        context = make_context(
            f"model.path={tmp_path / 'base'}", "loader=full", "data=[files]",
            f"data.files.demonstrations={file}", "model.max_prompt_length=24", *overrides,
            stage="reward_model",
        )  # fmt: skip
        torch.manual_seed(0)
        body = LanguageModel(LlamaForCausalLM.from_pretrained(tmp_path / "base").eval())
        model = ScalarModel(body, fresh_head(body.hidden_size))
        text = load_text_format(context)
        result = _normalise(context, text, model)
        prompt = text.prompt_ids([{"role": "user", "content": "what colour"}])
        ids = [text.completion_ids(item) for item in ("red", "it is fine")]
        return result, model.scores(body.batch([prompt, prompt], ids)).tolist()

    return run


def test_all_demonstrations_average_0(shifted):
    result, (red, fine) = shifted()
    assert result["shift_demonstrations"] == 100
    assert abs(red - fine) > 0.01
    assert 0.7 * red + 0.3 * fine == pytest.approx(0, abs=1e-5)


def test_some_are_drawn_from_all_of_them(shifted):
    result, (red, fine) = shifted("stage.reward_model.normalise_on=40")
    assert result["shift_demonstrations"] == 40
    share = fine / (fine - red)  # of "red" among the 40, which average 0
    assert share * 40 == pytest.approx(round(share * 40), abs=1e-2)
    assert 0.5 < share < 0.95


def test_none_leaves_the_bias_at_0(shifted):
    result, scores = shifted("stage.reward_model.normalise_on=0")
    assert result == {"shift": 0.0, "shift_demonstrations": 0}
    assert scores != shifted()[1]


def test_longer_prompts_than_the_model_reads_are_left_out(shifted):
    result, _ = shifted("model.max_prompt_length=1")
    assert result == {"shift": 0.0, "shift_demonstrations": 0}


def test_accuracy_has_its_interval_over_prompts():
    """Three prompts with 2 of 2 pairs right, one with none of 6. Of the resamples 0.4 % have the
    last one alone and 5 % have it three times, 2 of 20; 32 % do not have it."""
    found = ratio_interval([2, 2, 2, 0], [2, 2, 2, 6], 0.95, 2000, seed=0)
    assert (found.value, found.low, found.high, found.count) == (0.5, 0.1, 1.0, 4)


def test_the_summary_says_the_interval(tmp_path):
    result = {"validation_accuracy": 0.66, "validation_low": 0.57, "validation_high": 0.748,
              "validation_pairs": 495, "validation_prompts": 18}  # fmt: skip
    (tmp_path / "result.json").write_text(json.dumps(result))
    said = "validation accuracy 66.0% [57.0%, 74.8%] on 495 pairs of 18 prompts"
    assert summaries.reward_model(tmp_path) == said
    (tmp_path / "result.json").write_text(json.dumps(result | {"validation_prompts": 1}))
    assert "[" not in summaries.reward_model(tmp_path)
