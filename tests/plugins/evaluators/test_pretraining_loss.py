"""evaluator=pretraining_loss: transformers' own loss on the texts that training leaves out."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhfkit.data import sources
from rlhfkit.errors import UserError
from rlhfkit.runner.preflight import check_pretraining
from rlhfkit.testing import tiny

from .samples import samples

TEXTS = [f"{one} and {other} is the best" for one in tiny.WORDS for other in tiny.WORDS]


@pytest.fixture
def make(make_context, tmp_path):
    """A context with texts, a quarter of them held out."""
    tiny.language_model(tmp_path / "base")
    tiny.language_model(tmp_path / "sft", seed=1)

    def made(*overrides, texts=TEXTS):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / "texts.jsonl").write_text(lines)
        return make_context(
            f"model.path={tmp_path / 'base'}", "loader=full", "evaluator=[pretraining_loss]",
            "data=[files]", f"data.files.pretraining={tmp_path / 'texts.jsonl'}",
            "pretraining_eval_fraction=0.25", *overrides,
        )  # fmt: skip

    return made


def expected(path, texts, length):
    """transformers' mean loss of each text, one at a time."""
    model = AutoModelForCausalLM.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    with torch.no_grad():
        rows = [
            torch.tensor([tokenizer(text, add_special_tokens=False).input_ids[:length]])
            for text in texts
        ]
        return [float(model(row, labels=row).loss) for row in rows]


def test_the_parts_are_disjoint_whole_and_of_about_that_size(make):
    context = make()
    held_out, trained = sources.held_out_texts(context), sources.pretraining_texts(context)
    assert sorted([*held_out, *trained]) == sorted(TEXTS)
    assert not set(held_out) & set(trained)
    assert 0.15 < len(held_out) / len(TEXTS) < 0.35
    assert sources.pretraining_texts(make("pretraining_eval_fraction=0")) == TEXTS


@pytest.mark.parametrize("length", [128, 4])
def test_it_is_transformers_loss_per_policy(make, tmp_path, length):
    context = make(f"evaluator.pretraining_loss.max_length={length}")
    drawn = {
        "sft": samples("sft", ["red"], kl=[0.0]),  # no stage sft has run: the base model
        str(tmp_path / "sft"): samples("other", ["red"], kl=[0.0]),
        "foreign": samples("foreign", ["red"]),  # another tokenizer
    }
    found = context.build_all("evaluator")["pretraining_loss"].evaluate(drawn).metrics
    assert set(found) == {"sft", str(tmp_path / "sft")}
    texts = sources.held_out_texts(context)
    for policy, path in (("sft", tmp_path / "base"), (str(tmp_path / "sft"), tmp_path / "sft")):
        metric = found[policy]["pretraining_loss"]
        losses = expected(path, texts, length)
        assert metric.value == pytest.approx(sum(losses) / len(losses), abs=1e-4)
        assert metric.low < metric.value < metric.high
        assert metric.count == len(texts)


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS[:1] * 9])
def test_nothing_held_out_is_told_before_training(make, texts):
    context = make(texts=texts)
    with pytest.raises(UserError, match=r"pretraining_eval_fraction=0\.25: holds out \d of the"):
        check_pretraining(context, ["rl", "evaluate"])
    check_pretraining(context, ["rl"])
