"""rlhfkit_plugins.labelers.ranking: ties, chains, positions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhfkit_plugins.labelers.ranking import ranks_of

SCORES = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("scores", "margin", "expected"),
    [
        ([0.1, 0.9, 0.5], 0.0, [3, 1, 2]),
        ([0.5, 0.5, 0.1], 0.0, [1, 1, 2]),
        ([1.0, 0.75, 0.5, 0.25], 0.25, [1, 1, 2, 2]),  # a chain does not tie its ends
        ([0.0, -math.inf, -math.inf], 1.0, [1, 2, 2]),
        ([-math.inf, -math.inf], 0.0, [1, 1]),
        ([], 0.0, []),
    ],
)
def test_literal_cases(scores, margin, expected):
    assert ranks_of(scores, margin) == expected


@given(SCORES, st.sampled_from([0.0, 1.0, 3.0]), st.randoms())
def test_position_does_not_matter(scores, margin, rng):
    order = rng.sample(range(len(scores)), len(scores))
    ranks = ranks_of(scores, margin)
    assert ranks_of([scores[i] for i in order], margin) == [ranks[i] for i in order]


@given(SCORES, st.sampled_from([0.0, 1.0, 3.0]))
def test_ranks_agree_with_scores(scores, margin):
    ranks = ranks_of(scores, margin)
    assert set(ranks) == set(range(1, max(ranks) + 1))
    for score, rank in zip(scores, ranks, strict=True):
        for other, other_rank in zip(scores, ranks, strict=True):
            assert rank > other_rank or other_rank > rank or abs(score - other) <= margin
            assert not (score > other and rank > other_rank)
