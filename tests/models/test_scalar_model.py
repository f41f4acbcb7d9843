"""Heads survive saving and loading, and anything else is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import HEAD_FILE, ScalarModel, fresh_head, load_head
from rlhfkit.testing import tiny

BATCH = make_batch([[5, 6], [7]], [[8, 9, 2], [10, 2]])


@pytest.fixture
def model():
    body = LanguageModel(LlamaForCausalLM(tiny.config()).eval())
    made = ScalarModel(body, fresh_head(16))
    made.shift(0.25)
    return made


def test_scores_read_the_last_token_and_values_the_states_before_each(model):
    hidden = model.language_model.hidden_states(BATCH.input_ids, BATCH.attention_mask)
    every = model.head(hidden).squeeze(-1)
    torch.testing.assert_close(model.scores(BATCH), torch.stack([every[0, 4], every[1, 2]]))
    values = model.values(BATCH)
    torch.testing.assert_close(values[0], every[0, 1:4])
    torch.testing.assert_close(values[1, :2], every[1, 0:2])
    assert values[1, 2] == 0


def test_padding_changes_no_score(model):
    alone = model.scores(make_batch([[7]], [[10, 2]]))
    torch.testing.assert_close(model.scores(BATCH)[1:], alone, rtol=1e-5, atol=1e-6)


def test_shift_moves_every_score(model):
    before = model.scores(BATCH)
    model.shift(-1.5)
    torch.testing.assert_close(model.scores(BATCH), before - 1.5)


def test_head_round_trip(model, tmp_path):
    model.save(tmp_path)
    head = load_head(tmp_path, 16)
    assert torch.equal(head.weight, model.head.weight)
    assert torch.equal(head.bias, model.head.bias)


def test_fresh_heads_spread():
    weights = torch.cat([fresh_head(63).weight for _ in range(200)])
    assert abs(weights.std() - 1 / 8) < 0.005
    assert fresh_head(63).bias == 0


def test_a_lost_head_is_refused(model, tmp_path):
    model.save(tmp_path)
    (tmp_path / HEAD_FILE).unlink()
    with pytest.raises(UserError, match=r"no head\.safetensors"):
        load_head(tmp_path, 16)


def test_an_altered_head_is_refused(model, tmp_path):
    model.save(tmp_path)
    state = load_file(tmp_path / HEAD_FILE)
    state["weight"][0, 0] += 1e-3
    save_file(state, tmp_path / HEAD_FILE, metadata={"sha256": "0"})
    with pytest.raises(UserError, match="not the one that was saved"):
        load_head(tmp_path, 16)


def test_a_head_of_another_width_is_refused(model, tmp_path):
    model.save(tmp_path)
    with pytest.raises(UserError, match="head of width 16, but the model's hidden size is 32"):
        load_head(tmp_path, 32)
    with pytest.raises(UserError, match="head of width 8 does not fit"):
        ScalarModel(model.language_model, fresh_head(8))


def test_the_body_is_saved_as_transformers_does(model, tmp_path):
    model.save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["hidden_size"] == 16
