"""The benchmark of whole rankings against pairs: what it trains on and what it holds out."""

import random
from argparse import Namespace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OPTIONS = Namespace(completions=3, longest_prompt=8, prompts=6, held_out=2)


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def ranking(number, ranks):
    completions = [f"{number} {place}" for place in range(len(ranks))]
    return {"prompt": f"{number:02} {'long ' * 9}", "completions": completions, "ranks": ranks}


def test_pairs_are_of_completions_that_are_not_tied():
    from kwise_vs_pairs import pairs

    found = pairs(ranking(1, [2, 1, 2]))
    assert [(row["completions"], row["ranks"]) for row in found] == [
        (["1 0", "1 1"], [2, 1]),
        (["1 1", "1 2"], [1, 2]),
    ]


def test_other_prompts_are_held_out_and_every_ranking_keeps_its_order():
    from kwise_vs_pairs import select

    rows = [ranking(number, [4, 1, 3, 2]) for number in range(10)]
    rows += [ranking(number, [1, 1, 1]) for number in range(10, 20)]  # say nothing
    rows += [ranking(number, [1, 2]) for number in range(20, 30)]  # too few completions
    training, held_out = select(rows, OPTIONS, random.Random(0))
    assert (len(training), len(held_out)) == (6, 2)
    prompts = {row["prompt"] for row in training} | {row["prompt"] for row in held_out}
    assert len(prompts) == 8
    assert all(len(prompt) == 8 for prompt in prompts)
    for row in (*training, *held_out):
        places = [int(completion.split()[1]) for completion in row["completions"]]
        assert sorted(row["ranks"]) == [1, 2, 3]
        assert sorted(places, key=[4, 1, 3, 2].__getitem__) == [
            place for _, place in sorted(zip(row["ranks"], places, strict=True))
        ]
