"""Agreement against published values, values made by hand, and other libraries' on human rankings:
the folder named by RLHFKIT_DATA holds them as `.jsonl.gz`."""

import gzip
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from rlhfkit.labelling import tables
from rlhfkit.labelling.agreement import Agreement, measure
from rlhfkit.labelling.chance_corrected import cohen_kappa, fleiss_kappa, ordinal_alpha
from rlhfkit.labelling.judged import Judged, by_item, compared, dense, orders
from rlhfkit.labelling.times import time_outliers

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: 4 observers, 12 units
OBSERVERS = (
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
)

# the worked example of Wikipedia's "Fleiss' kappa": how many of 14 raters gave each category
RATINGS = """0,0,0,0,14 0,2,6,4,2 0,0,3,5,6 0,3,9,2,0 2,2,8,1,1
7,7,0,0,0 3,2,6,3,0 2,5,3,2,2 6,5,2,1,0 0,2,2,3,7"""


def test_krippendorff_s_own_example():
    rows = [
        (str(observer), str(unit), value)
        for observer, given in enumerate(OBSERVERS)
        for unit, value in enumerate(given)
        if value is not None and unit != 11  # the last has one value
    ]
    assert ordinal_alpha(rows) == pytest.approx(0.815, abs=5e-4)


def test_fleiss_worked_example():
    ratings = [
        [category for category, count in enumerate(row.split(",")) for _ in range(int(count))]
        for row in RATINGS.split()
    ]
    assert fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)


def test_cohen_of_a_table_of_two_by_two():
    # 20 yes and yes, 5 yes and no, 10 no and yes, 15 no and no: observed 0.7, expected 0.5
    pairs = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)


def test_orders_and_what_two_rankings_have_in_common():
    assert orders([1, 2, 2]) == [1, 1, 0]
    assert dense([3, 9, 9, 4]) == [1, 3, 3, 2]
    tally = compared([1, 2, 2], [1, 1, 2])  # a tie and a win, the same, a tie and a win
    assert (tally.pairs, tally.decided, tally.same, tally.same_with_ties) == (3, 1, 1, 1)


def test_agreement_is_a_share_of_pairs_without_ties():
    found = measure(
        [
            Judged("ann", "a", [1, 2, 3]),
            Judged("bob", "a", [1, 3, 2]),  # 2 of 3 alike
            Judged("ann", "b", [1, 1]),
            Judged("bob", "b", [1, 2]),  # one ties
            Judged("ann", "c", [1, 2]),  # nobody else ranked it
        ]
    )
    assert found.agreement is not None
    assert found.agreement_with_ties is not None
    assert (found.agreement.value, found.agreement.count) == (2 / 3, 1)
    assert (found.pairs, found.tied_pairs) == (3, 1)
    assert (found.agreement_with_ties.value, found.agreement_with_ties.count) == (0.5, 2)
    assert (found.judgements, found.items) == (5, 3)
    assert found.fleiss is not None
    assert (found.fleiss.labelers, found.fleiss.items) == (2, 2)


def test_who_agrees_least_with_the_rest_comes_first():
    judged = [Judged(name, str(item), [1, 2]) for name in ("ann", "bob") for item in range(12)]
    judged += [Judged("eve", str(item), [1, 2] if item < 3 else [2, 1]) for item in range(12)]
    found = measure(judged)
    assert [one.labeler for one in found.labelers] == ["eve", "ann", "bob"]
    rest = [one.against_rest.value for one in found.labelers if one.against_rest]
    assert rest == [0.25, 0.625, 0.625]  # ann: 12 of 12 with bob, 3 of 12 with eve
    assert found.labelers[0].against_rest.low < 0.25 < found.labelers[0].against_rest.high


def test_a_correction_counts_and_a_repeat_is_compared_with_it():
    found = measure(
        [
            Judged("ann", "a", [2, 1]),
            Judged("ann", "a", [1, 2]),
            Judged("ann", "a", [1, 2], repeat=True),
            Judged("ann", "b", [1, 1]),
            Judged("ann", "b", [1, 2], repeat=True),
            Judged("bob", "c", [1, 2], repeat=True),  # never asked before
        ]
    )
    assert found.self_agreement is not None
    assert (found.self_agreement.value, found.self_agreement.count) == (0.5, 2)
    assert found.agreement is None
    assert found.judgements == 2


def test_position_bias_goes_by_the_order_shown():
    # the third is best and was shown first, then the first, then the second: 3 of 3 pairs
    found = measure([Judged("ann", "a", [2, 3, 1], shown=[2, 0, 1])])
    assert found.first_preferred is not None
    assert found.first_preferred.value == 1
    assert measure([Judged("ann", "a", [2, 3, 1])]).first_preferred is None


def test_known_answers_and_a_tie_where_they_decide():
    judged = [Judged("ann", "a", [1, 2, 2]), Judged("ann", "b", [1, 2])]
    found = measure(judged, gold={"a": [1, 2, 3], "elsewhere": [1, 2]})
    assert found.gold is not None
    assert (found.gold.value, found.gold.count) == (2 / 3, 1)
    assert found.labelers[0].gold == found.gold


def test_times_far_from_the_others():
    judged = [Judged("ann", str(n), [1, 2], seconds=20 + n % 5) for n in range(20)]
    judged += [Judged("bob", "fast", [1, 2], seconds=0), Judged("bob", "slow", [1, 2], seconds=900)]
    found = time_outliers(judged)
    assert [(one.item, one.too_fast) for one in found] == [("fast", True), ("slow", False)]
    assert time_outliers(judged[:9]) == []
    assert time_outliers([Judged("ann", str(n), [1, 2], seconds=5) for n in range(20)]) == []


def test_nothing_to_tell_by():
    found = measure([])
    assert (found.agreement, found.mean_cohen, found.fleiss, found.krippendorff) == (None,) * 4
    assert found.labelers == []
    assert tables.summary(found) == []


def test_chance_cannot_be_told_from_one_answer_alone():
    found = measure([Judged(name, "a", [1, 1]) for name in ("ann", "bob")])
    assert (found.cohen, found.mean_cohen, found.fleiss, found.krippendorff) == ([], *[None] * 3)
    assert found.agreement_with_ties is not None
    assert found.agreement_with_ties.value == 1


def test_rankings_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="'a': rankings of different numbers of completions"):
        measure([Judged("ann", "a", [1, 2]), Judged("bob", "a", [1, 2, 3])])
    with pytest.raises(ValueError, match="zip"):
        measure([Judged("ann", "a", [1, 2])], gold={"a": [1, 2, 3]})


def test_json_and_back():
    judged = [
        Judged(name, str(item), [1, 2], shown=[0, 1], seconds=1000 if item == 8 else 5 + item)
        for name in ("ann", "bob")
        for item in range(9)
    ]
    found = measure([*judged, Judged("ann", "0", [2, 1], repeat=True)], gold={"3": [1, 2]})
    assert found.time_outliers
    assert Agreement.parse(json.loads(json.dumps(asdict(found)))) == found


def test_the_table_reads_as_the_paper_prints_it():
    judged = [
        Judged(name, str(item), [1, 2] if item % 4 or name == "ann" else [2, 1])
        for name in ("ann", "bob")
        for item in range(400)
    ]
    found = measure(judged)
    name, value = tables.summary(found)[0]
    assert name == "two labelers agree, 400 pairs without ties"
    assert value.startswith("75.0 ")
    assert all(len(row) == len(tables.HEAD) for row in tables.labelers(found))


FILES = ("pairwise_annotators", "rankings")
RANKS = {"a": [1, 2], "b": [2, 1], "tie": [1, 1]}

# krippendorff 0.9.0 (ordinal) and statsmodels 0.15.0 (fleiss_kappa; cohens_kappa of the first two)
OTHERS = {
    "pandalm-testset": (0.8659709147936294, 0.8579550279958643, 0.8474166508047549),
    "open-instruct-human-eval": (0.3640209508460919, 0.358854935817335, 0.28),
    "newsroom-human-eval": (0.09280873068917017, 0.06983223691511214, 0.0427570300718531),
    "squality": (0.7860544217687075, 0.7333225829209543, 0.7),
}
"""Alpha, Fleiss' kappa, Cohen's kappa."""


@pytest.mark.parametrize("source", OTHERS)
def test_other_libraries_say_the_same_of_people_s_rankings(source):
    judged = [row for row in _real() if row[0] == source]
    found = measure([one for _, one in judged])
    alpha, fleiss, cohen = OTHERS[source]
    assert found.krippendorff == pytest.approx(alpha, abs=1e-12)
    assert found.fleiss.kappa == pytest.approx(fleiss, abs=1e-12)
    assert found.cohen[0].kappa == pytest.approx(cohen, abs=1e-12)
    same, decided = _counted(by_item(one for _, one in judged))
    assert (found.agreement.value, found.pairs) == (same / decided, decided)
    assert found.agreement.low < found.agreement.value < found.agreement.high


def _real():
    files = [Path(os.environ.get("RLHFKIT_DATA", ""), f"{name}.jsonl.gz") for name in FILES]
    if not all(file.exists() for file in files):
        pytest.skip(f"RLHFKIT_DATA names no folder with {', '.join(FILES)}.jsonl.gz")
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                ranks = row["ranks"] if "ranks" in row else RANKS[row["label"]]
                yield row["source"], Judged(str(row["annotator"]), row["item_id"], ranks)


def _counted(items):
    """Pairs in the same order, and those that neither ties, one by one."""
    same = decided = 0
    for answers in items.values():
        people = list(answers.values())
        for first in range(len(people)):
            for second in range(first):
                one, other = people[first].ranks, people[second].ranks
                for i in range(len(one)):
                    for j in range(i):
                        if one[i] != one[j] and other[i] != other[j]:
                            decided += 1
                            same += (one[i] < one[j]) == (other[i] < other[j])
    return same, decided
