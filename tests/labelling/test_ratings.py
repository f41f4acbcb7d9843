"""Ratings of answers alone: means, and differences within each labeler's ratings of a prompt."""

import pytest

from rlhfkit.labelling.ratings import Rated, measure_ratings

SAID = {
    # a prompt and a labeler: what is said of the policy's and of the SFT model's answers
    ("a", "ann"): {"rl": [7.0, 5.0], "sft": [3.0]},
    ("a", "bob"): {"rl": [2.0], "sft": [1.0]},
    ("b", "ann"): {"rl": [4.0], "sft": [5.0]},
    ("c", "ann"): {"rl": [1.0], "sft": []},
    ("c", "bob"): {"rl": [], "sft": [7.0]},
}


def rated(policy, text, labeler, **values):
    return Rated(policy, [{"role": "user", "content": text}], labeler, values)


def test_means_and_differences():
    """Prompt a: (6 - 3 + 2 - 1) / 2 = 2; b: -1; in c nobody rated both."""
    every = [
        rated(policy, text, labeler, overall=value)
        for (text, labeler), found in SAID.items()
        for policy, values in found.items()
        for value in values
    ]
    found = measure_ratings(every)
    rl, sft = found.ratings["rl"]["overall"], found.ratings["sft"]["overall"]
    assert (rl.value, rl.low, rl.high, rl.count) == (
        pytest.approx((14 / 3 + 4 + 1) / 3),
        1,
        14 / 3,
        3,
    )
    assert sft.value == pytest.approx((2 + 5 + 7) / 3)
    assert list(found.differences) == ["rl"]
    above = found.differences["rl"]["overall"]
    assert (above.value, above.low, above.high, above.count) == (0.5, -1, 2, 2)
    named = found.metrics("judge")
    assert list(named["rl"]) == ["judge_overall", "judge_overall_minus_sft"]
    assert list(named["sft"]) == ["judge_overall"]


def test_a_flag_that_nobody_was_asked_about_has_no_share():
    found = measure_ratings(
        [
            rated("rl", "a", "one", overall=3, opinion=1),
            rated("rl", "b", "one", overall=3, opinion=0),
            rated("sft", "a", "two", overall=3),
        ]
    )
    assert found.ratings["rl"]["opinion"].value == 0.5
    assert list(found.ratings["sft"]) == ["overall"]
    assert found.differences == {}
