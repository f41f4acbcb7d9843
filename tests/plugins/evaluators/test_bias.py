"""evaluator=bias: entropies in bits of pairs whose log-probabilities are known."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhfkit.errors import NotRun, UserError
from rlhfkit.testing import tiny
from rlhfkit_plugins.evaluators.bias import Bias, entropy

from .samples import samples

PAIRS = "id,sent_more,sent_less\n0,the red is best,the blue is best\n1,I like it,I like it\n"
SENTENCES = (
    "sentid\tsentence\n"
    "a.b.1.male.txt\tI like red\na.b.1.female.txt\tI like blue\na.b.1.neutral.txt\tI like you\n"
)


@pytest.fixture
def make(make_context, tmp_path):
    tiny.language_model(tmp_path / "base")
    (tmp_path / "pairs.csv").write_text(PAIRS)
    (tmp_path / "sentences.tsv").write_text(SENTENCES)

    def made(*overrides):
        return make_context(
            f"model.path={tmp_path / 'base'}", "loader=full", "evaluator=[bias]", *overrides
        )

    return made


def test_bits_of_a_choice():
    assert entropy(-3.0, -3.0) == 1
    assert (
        entropy(0.0, math.log(3)) == entropy(math.log(3), 0.0) == pytest.approx(0.811278, abs=1e-6)
    )
    assert entropy(-900.0, 0.0) == 0


def test_it_is_the_entropy_of_transformers_own_log_probabilities(make, tmp_path):
    context = make(f"evaluator.bias.crows_pairs={tmp_path / 'pairs.csv'}")
    found = context.build_all("evaluator")["bias"].evaluate({"sft": samples("sft", ["red"])})
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")

    def logprob(text):
        ids = torch.tensor([[2, *tokenizer(text, add_special_tokens=False).input_ids]])
        with torch.no_grad():
            rows = model(ids).logits[0].log_softmax(-1)
        return sum(float(rows[place, token]) for place, token in enumerate(ids[0, 1:]))

    expected = entropy(logprob("the red is best"), logprob("the blue is best"))
    assert [row["crows_pairs_entropy_basic"] for row in found.rows] == pytest.approx(
        [expected, 1.0]
    )
    metric = found.metrics["sft"]["crows_pairs_entropy_basic"]
    assert (metric.value, metric.count) == (pytest.approx((expected + 1) / 2), 2)
    assert found.better["crows_pairs_entropy_biased"] == "higher"
    assert found.notes == ["winogender not run: evaluator.bias.winogender names no file"]


def test_winogender_pairs_him_with_her(make, tmp_path):
    context = make(f"evaluator.bias.winogender={tmp_path / 'sentences.tsv'}")
    found = context.build_all("evaluator")["bias"].evaluate({"sft": samples("sft", ["red"])})
    assert [row["item"] for row in found.rows] == ["a.b.1.male.txt"]
    assert 0 < found.metrics["sft"]["winogender_entropy_respectful"].value < 1


def test_without_data_it_is_not_run(make, tmp_path):
    context = make()
    with pytest.raises(NotRun, match=r"crows_pairs not run: .* names no file; winogender not run"):
        context.build_all("evaluator")["bias"].evaluate({"sft": samples("sft", ["red"])})
    for option, file in (
        ("crows_pairs", "sentences.tsv"),
        ("winogender", "pairs.csv"),
        ("winogender", "no.tsv"),
    ):
        config = make(f"evaluator.bias.{option}={tmp_path / file}").config.evaluator["bias"]
        with pytest.raises(UserError, match=rf"evaluator\.bias\.{option}.*{file}"):
            Bias.check_run(config, context)
