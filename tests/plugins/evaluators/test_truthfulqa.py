"""evaluator=truthfulqa: MC1 and MC2 of known log-probabilities, and where its items come from."""

import math

import pytest

from rlhfkit.errors import NotRun, UserError
from rlhfkit.testing import tiny
from rlhfkit_plugins.evaluators.policies import Policy
from rlhfkit_plugins.evaluators.truthfulqa import PRIMER, TruthfulQA, mc1, mc2

from .samples import samples

QUESTIONS = (
    "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers\n"
    "A,Myths,what is red,a colour,a colour; it is a colour,blue; green\n"
    "A,Myths,what is best,fine,fine,red\n"
)


@pytest.fixture
def make(make_context, tmp_path):
    tiny.language_model(tmp_path / "base", max_position_embeddings=512)
    (tmp_path / "TruthfulQA.csv").write_text(QUESTIONS)

    def made(*overrides, file="TruthfulQA.csv"):
        return make_context(
            f"model.path={tmp_path / 'base'}", "loader=full", "evaluator=[truthfulqa]",
            "model.max_prompt_length=300", "sampler.response_length=4",
            f"evaluator.truthfulqa.path={tmp_path / file}", *overrides,
        )  # fmt: skip

    return made


def test_one_answer_against_all_false_ones():
    assert mc1(-2.0, [-3.0, -2.5]) == 1
    assert mc1(-2.0, [-3.0, -2.0]) == 0


def test_the_probability_of_the_true_ones():
    logs = [math.log(share) for share in (0.2, 0.1, 0.3)]
    assert mc2(logs[:2], logs[2:]) == pytest.approx(0.5)
    assert mc2([-5000.0], [-5000.0 + math.log(3)]) == pytest.approx(0.25)


def test_answers_are_measured_behind_the_primer(make, monkeypatch):
    """Known log-probabilities: the first question's best answer is likeliest, not the second's."""
    known = {
        " a colour": -1.0,
        " it is a colour": -2.0,
        " blue": -3.0,
        " green": -1.5,
        " fine": -2.0,
        " red": -1.0,
    }
    asked = []

    def logprobs(self, pairs):
        asked.extend(pairs)
        return [known[more] for _, more in pairs]

    monkeypatch.setattr(Policy, "logprobs", logprobs)
    context = make("evaluator.truthfulqa.generate=false")
    found = context.build_all("evaluator")["truthfulqa"].evaluate({"sft": samples("sft", ["red"])})
    assert asked[0] == (f"{PRIMER}Q: what is red\nA:", " a colour")
    assert asked[8][0].startswith("Interpret each question literally")
    first, second = found.rows
    assert (first["truthfulqa_mc1"], second["truthfulqa_mc1"]) == (1, 0)
    true, false = math.exp(-1) + math.exp(-2), math.exp(-3) + math.exp(-1.5)
    assert first["truthfulqa_mc2"] == pytest.approx(true / (true + false))
    assert found.metrics["sft"]["truthfulqa_mc1_instructed"].value == 0.5
    assert found.better["truthfulqa_mc2"] == "higher"
    assert "answer_greedy" not in first


def test_generated_answers_are_left_for_a_judge(make):
    context = make("evaluator.truthfulqa.limit=3")
    found = context.build_all("evaluator")["truthfulqa"].evaluate({"sft": samples("sft", ["red"])})
    kinds = {
        f"answer{ending}_{way}" for ending in ("", "_instructed") for way in ("greedy", "sampled")
    }
    assert all(kinds <= row.keys() for row in found.rows)
    assert found.rows[0]["true"] == "a colour; it is a colour"
    assert found.notes == ["2 items, where evaluator.truthfulqa.limit=3 asks for more"]
    again = context.build_all("evaluator")["truthfulqa"].evaluate({"sft": samples("sft", ["red"])})
    assert again.rows == found.rows


def test_data_that_is_not_there(make, tmp_path):
    context = make("evaluator.truthfulqa.path=null")
    with pytest.raises(NotRun, match=r"evaluator\.truthfulqa\.path names no file"):
        context.build_all("evaluator")["truthfulqa"].evaluate({"sft": samples("sft", ["red"])})
    (tmp_path / "other.csv").write_text("Question\nwhat\n")
    for file, reason in (
        ("missing.csv", "no such file"),
        ("other.csv", "has no column Best Answer"),
    ):
        context = make(file=file)
        with pytest.raises(UserError, match=rf"truthfulqa\.path.*{reason}"):
            TruthfulQA.check_run(context.config.evaluator["truthfulqa"], context)
