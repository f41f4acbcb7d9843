"""Both sides of the PPO benchmark are given the same: rewards and prompts."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rlhfkit.models.batch import make_batch
from rlhfkit.testing import tiny

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def choice(monkeypatch, plugins, tmp_path):
    """Of a tiny model."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from ppo_workload import Choice

    tiny.language_model(tmp_path / "base")
    sizes = {"batch_size": 2, "micro_batch_size": 2, "response_length": 4, "iterations": 2}
    return Choice(model=str(tmp_path / "base"), num_ppo_epochs=1, upper_layers=1, **sizes)


def test_all_forms_of_the_reward_model_score_alike(choice, tmp_path):
    from ppo_workload import quickstart, write_models

    variants = write_models(choice, tmp_path, seed=0)
    assert [item["layers"] for item in variants.values()] == [None, [1]]
    prompt, response = [5, 6, 7], [8, 9]
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier")
    hidden = classifier.model(torch.tensor([prompt + response])).last_hidden_state
    expected = classifier.score(hidden)[0, -1].item()
    for item in variants.values():
        last = item["lora_last_layers"] or "null"
        context = quickstart(choice, tmp_path, (f"loader.lora_last_layers={last}",))
        reward = context.build("loader").roles(None, item["reward_model"]).reward
        found = reward.scores(make_batch([prompt], [response]))
        assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("load", ["mixed", "fixed"])
def test_prompts_as_texts_are_the_prompts_as_tokens(choice, tmp_path, load):
    from ppo_workload import FIXED_PROMPT, prompts_of, quickstart
    from rlhfkit_ppo import text_format

    found = prompts_of(load, choice, tmp_path)
    text = text_format(quickstart(choice, tmp_path), found["natural_ends"])
    assert [text.prompt_ids(prompt) for prompt in found["prompts"]] == list(found["prompt_ids"])
    lengths = {len(ids) for ids in found["prompt_ids"]}
    if load == "mixed":
        assert len(lengths) > 5
        assert text.ends.ids == (2,)
    else:
        assert lengths == {FIXED_PROMPT}
        assert text.ends.ids == (-1,)
    assert not any(found["pad_token_id"] in ids for ids in found["prompt_ids"])
