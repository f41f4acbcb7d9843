"""evaluator=toxicity: a classifier's own probabilities, and which labels count."""

import json
import sys

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhfkit.errors import NotRun, UserError
from rlhfkit.testing import tiny
from rlhfkit_plugins.evaluators.policies import Policy
from rlhfkit_plugins.evaluators.toxicity import Toxicity

from .samples import samples

TEXTS = ["red and blue", "I like you", "it"]


@pytest.fixture
def make(make_context, tmp_path):
    tiny.language_model(tmp_path / "base")
    labels = {
        "id2label": {0: "fine", 1: "rude", 2: "toxic"},
        "label2id": {"fine": 0, "rude": 1, "toxic": 2},
    }
    tiny.classifier(tmp_path / "judge", num_labels=3, **labels)
    tiny.classifier(tmp_path / "one", num_labels=1)
    (tmp_path / "p.jsonl").write_text('{"prompt": {"text": "I like"}}\n{"prompt": "it is"}\n')

    def made(*overrides, judge="judge"):
        return make_context(
            f"model.path={tmp_path / 'base'}", "loader=full", "evaluator=[toxicity]",
            f"evaluator.toxicity.path={tmp_path / 'p.jsonl'}",
            f"evaluator.toxicity.classifier={tmp_path / judge}", "sampler.response_length=4",
            *overrides,
        )  # fmt: skip

    return made


def logits(path, text):
    model = AutoModelForSequenceClassification.from_pretrained(path)
    ids = AutoTokenizer.from_pretrained(path)(text, return_tensors="pt").input_ids
    with torch.no_grad():
        return model(ids).logits[0]


@pytest.mark.parametrize(
    ("judge", "labels", "expected"),
    [
        ("judge", [], lambda row: row.softmax(-1)[2]),
        ("judge", ["rude", "toxic"], lambda row: row.softmax(-1)[1:].sum()),
        ("one", [], lambda row: row.sigmoid()[0]),
    ],
)
def test_scores_are_the_classifiers_own(make, tmp_path, monkeypatch, judge, labels, expected):
    asked = []

    def answers(self, prompts, way):
        asked.append((prompts[0][0]["content"], way))
        return TEXTS[:2] if way == "greedy" else TEXTS[1:]

    monkeypatch.setattr(Policy, "answers", answers)
    context = make(f"evaluator.toxicity.labels={json.dumps(labels)}", judge=judge)
    found = context.build_all("evaluator")["toxicity"].evaluate({"sft": samples("sft", ["a"])})
    of = [float(expected(logits(tmp_path / judge, text))) for text in TEXTS]
    numbers = {name: metric.value for name, metric in found.metrics["sft"].items()}
    assert numbers["toxicity_basic_greedy"] == pytest.approx(sum(of[:2]) / 2, abs=1e-6)
    assert numbers["toxicity_biased_sampled"] == pytest.approx(sum(of[1:]) / 2, abs=1e-6)
    assert asked[0] == ("I like", "greedy")
    assert asked[2][0].startswith("Complete the following sentence in a polite, respectful")
    assert set(found.better.values()) == {"lower"}


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["evaluator.toxicity.labels=[toxik]"], "no label 'toxik'; did you mean 'toxic'"),
        (["evaluator.toxicity.path=nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_mistakes_are_told_before_training(make, overrides, reason):
    context = make(*overrides)
    with pytest.raises(UserError, match=reason):
        Toxicity.check_run(context.config.evaluator["toxicity"], context)


def test_a_missing_extra_is_told_before_training(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "hatesonar", None)
    monkeypatch.setattr("rlhfkit_plugins.evaluators.toxic_classifiers.find_spec", lambda name: None)
    context = make("evaluator.toxicity.classifier=hatesonar")
    with pytest.raises(UserError, match=r"pip install 'rlhfkit\[toxicity\]'"):
        Toxicity.check_run(context.config.evaluator["toxicity"], context)


def test_hatesonar_says_what_is_offensive(make, monkeypatch):
    pytest.importorskip("hatesonar", reason="the extra toxicity is not installed")
    monkeypatch.setattr(
        Policy, "answers", lambda self, prompts, way: ["Have a nice day.", "You stupid bitch."]
    )
    context = make("evaluator.toxicity.classifier=hatesonar")
    try:
        Toxicity.check_run(context.config.evaluator["toxicity"], context)
    except UserError as error:
        pytest.skip(str(error))
    found = context.build_all("evaluator")["toxicity"].evaluate({"sft": samples("sft", ["a"])})
    mild, rude = (row["toxicity_basic_greedy"] for row in found.rows)
    assert mild < 0.3 < 0.8 < rude


def test_without_a_classifier_it_is_not_run(make):
    context = make("evaluator.toxicity.classifier=null")
    with pytest.raises(NotRun, match=r"toxicity\.classifier names none"):
        context.build_all("evaluator")["toxicity"].evaluate({"sft": samples("sft", ["a"])})


def test_an_empty_continuation_is_not_toxic(make, monkeypatch):
    monkeypatch.setattr(Policy, "answers", lambda self, prompts, way: ["", " "])
    found = make().build_all("evaluator")["toxicity"].evaluate({"sft": samples("sft", ["a"])})
    assert [row["toxicity_basic_greedy"] for row in found.rows] == [0, 0]
