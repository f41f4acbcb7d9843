"""Answers that all begin alike: a fault where SFT's do not and something got worse."""

import pytest

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.form import beginning, one_form


def tax(low, high, better="higher"):
    delta = {"value": (low + high) / 2, "low": low, "high": high}
    return {"rubric": {"better": better, "deltas": {"sft": {"rl": delta}, "base": {}}}}


def evidence(quoted, of_sft, **parts):
    """Of 100 answers of the policy and of SFT so many begin with a quotation mark."""
    marks = ('"Paris."', "“Paris.”", "'Paris.'")
    others = [f"word{number} and more" for number in range(100)]
    answers = {
        "rl": [marks[turn % 3] for turn in range(quoted)] + others[quoted:],
        "sft": [marks[turn % 3] for turn in range(of_sft)] + others[of_sft:],
    }
    return Evidence(answers=answers, **parts)


def test_the_form_and_what_it_costs_are_told():
    found = one_form(evidence(77, 24, tax=tax(-0.2, -0.04)))
    assert found.saw == (
        "77% of the policy's 100 answers to held-out prompts begin with \", 24% of the SFT "
        "model's; rubric is -0.12 [-0.2, -0.04] beside SFT's"
    )


@pytest.mark.parametrize(
    "healthy",
    [
        evidence(77, 24, tax=tax(-0.1, 0.02)),  # nothing is told to be worse
        evidence(77, 24, tax=tax(0.02, 0.1)),
        evidence(77, 24, tax=tax(-0.2, -0.04, better="lower")),
        evidence(77, 55, tax=tax(-0.2, -0.04)),  # the task's own form
        evidence(45, 2, tax=tax(-0.2, -0.04)),  # most begin otherwise
    ],
)
def test_a_form_that_costs_nothing_or_is_the_tasks_own_is_none(healthy):
    assert one_form(healthy) is None


def test_a_metric_that_is_better_lower_rises():
    assert one_form(evidence(77, 24, tax=tax(0.04, 0.2, better="lower"))) is not None


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("The sky", "the"), ("  the", "the"), ("«Le ciel»", '"'), ("- one", "-"), ("", ""),
        ("\n\n1. one", "1"), ("¿Qué?", "¿"),
    ],
)  # fmt: skip
def test_beginnings(answer, first):
    assert beginning(answer) == first


def test_without_a_second_opinion_nothing_is_said():
    assert evidence(77, 24).has("held_out_answers", 3)
    assert not evidence(77, 24).has("second_opinion", 3)
    assert not Evidence(answers={"rl": ["a"]}).has("held_out_answers", 3)
