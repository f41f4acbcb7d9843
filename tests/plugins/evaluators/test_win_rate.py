"""evaluator=win_rate: preferences, ties, identical completions, several labelers."""

import json
from itertools import combinations
from types import SimpleNamespace

import pytest
from rich.console import Console

from rlhfkit.errors import UserError
from rlhfkit.figures.win_matrix import win_matrix, win_matrix_tables
from rlhfkit.types import Evaluation, Judgement, Metric
from rlhfkit_plugins.evaluators import WinRateConfig
from rlhfkit_plugins.evaluators.win_rate import WinRate

from .samples import samples

GOOD = "An animal is a living being that moves and feels."


class LongerIsBetter:
    """Three labelers: two prefer more characters, one ties everything. Remembers what it saw."""

    def __init__(self):
        self.asked = []

    def rank(self, prompts, completions):
        self.asked += [
            (prompt[-1]["content"], *texts)
            for prompt, texts in zip(prompts, completions, strict=True)
        ]
        return [
            [self._judged(texts), self._judged(texts), self._tied(texts)] for texts in completions
        ]

    def _judged(self, texts):
        order = sorted(map(len, texts), reverse=True)
        return Judgement([order.index(len(text)) + 1 for text in texts], "longer")

    def _tied(self, texts):
        return Judgement([1] * len(texts), "tied")


@pytest.fixture
def labeler():
    return LongerIsBetter()


@pytest.fixture
def win_rate(labeler):
    context = SimpleNamespace(
        config=SimpleNamespace(seed=0),
        build=lambda group: {"labeler": labeler}[group],
        build_all=lambda group: {},
    )
    return WinRate(WinRateConfig(resamples=200), context)


def test_preferences(win_rate, labeler):
    policy = samples("rl", ["long text", "x", "same", "ab"])
    sft = samples("sft", ["short", "longer", "same", "cd"])
    win, tie, loss = (1 + 1 + 0.5) / 3, 0.5, (0 + 0 + 0.5) / 3
    assert win_rate.preferences(policy, sft) == pytest.approx([win, loss, tie, tie])
    assert labeler.asked == [
        ("Describe animal 0.", "long text", "short"),
        ("Describe animal 1.", "x", "longer"),
        ("Describe animal 3.", "ab", "cd"),
    ]


def test_every_two_policies_are_compared_for_the_win_matrix(win_rate):
    drawn = {
        "sft": samples("sft", ["aa", "aa"]),
        "base": samples("base", ["a", "aaa"]),
        "rl": samples("rl", ["aaa", "aaaa"]),
    }
    found = win_rate.evaluate(drawn)
    assert {name for own in found.metrics.values() for name in own if "vs" in name} == set()
    matrix = win_matrix(found.rows)
    assert list(matrix) == ["base", "sft", "rl"]
    assert matrix["rl"]["base"] == Metric(*[pytest.approx(5 / 6)] * 3, 2)
    assert matrix["base"]["rl"] == Metric(*[pytest.approx(1 / 6)] * 3, 2)
    mixed = matrix["base"]["sft"]
    assert (mixed.value, mixed.low, mixed.high) == pytest.approx((0.5, 1 / 6, 5 / 6))
    win_rate._config.all_pairs = False
    assert "base" not in win_matrix(win_rate.evaluate(drawn).rows)["rl"]


def test_the_win_matrix_fits_80_columns(capsys):
    names = [f"opponent-{number}" for number in range(6)]
    rows = [
        {"policy": one, "prompt": share, other: "text", f"win_rate_vs_{other}": share}
        for one, other in combinations(names, 2)
        for share in (0, 1)
    ]
    for table in win_matrix_tables(win_matrix(rows)):
        Console(width=80).print(table)
    printed = capsys.readouterr().out
    assert printed.count("0.50") == 30
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_every_policy_but_sft(win_rate):
    drawn = {
        "sft": samples("sft", ["aa", "aa"]),
        "rl": samples("rl", ["aaa", "aaa"]),
        "base": samples("base", ["a", "aaa"]),
    }
    found = win_rate.evaluate(drawn).metrics
    assert set(found) == {"rl", "base"}
    assert found["rl"]["win_rate"] == Metric(*[pytest.approx(5 / 6)] * 3, 2)
    base = found["base"]["win_rate"]
    assert (base.value, base.low, base.high) == pytest.approx((0.5, 1 / 6, 5 / 6))


def test_nobody_is_asked_about_identical_completions(win_rate, labeler):
    same = samples("rl", ["a", "b", "c"])
    found = win_rate.evaluate({"sft": same, "rl": same}).metrics
    assert found["rl"]["win_rate"] == Metric(0.5, 0.5, 0.5, 3)
    assert found["rl"]["tie_rate"] == Metric(1, 1, 1, 3)
    assert labeler.asked == []


def test_swapping_the_sides_mirrors_the_rate(make_context):
    """With the simulated pool, mistakes included."""
    evaluator = make_context().build_all("evaluator")["win_rate"]
    one = samples("rl", [GOOD, "An animal.", "", "It is an animal, and it"])
    other = samples("sft", ["A", GOOD, GOOD, "The animal runs home quickly."])
    forth, back = evaluator.preferences(one, other), evaluator.preferences(other, one)
    assert forth == pytest.approx([1 - share for share in back])
    assert forth[0] == 1
    assert forth[2] == 0


def test_the_configuration_builds_it(make_context):
    evaluator = make_context("evaluator=[win_rate]").build_all("evaluator")["win_rate"]
    drawn = {"sft": samples("sft", ["A"] * 9), "rl": samples("rl", [GOOD] * 9)}
    assert evaluator.evaluate(drawn).metrics["rl"]["win_rate"] == Metric(1, 1, 1, 9)


def test_imported_rankings_cannot_judge(make_context, capsys):
    evaluator = make_context("labeler=imported").build_all("evaluator")["win_rate"]
    assert evaluator.evaluate({}) == Evaluation({})
    said = " ".join(capsys.readouterr().out.split())
    assert "no win rate: imported rankings cannot judge new completions" in said
    assert "stages=evaluate,report force_from=evaluate" in said


def test_answers_to_one_prompt_are_one_item(win_rate):
    asked = ["one", "one", "two", "two"]
    drawn = {
        "sft": samples("sft", ["aa", "aa", "aa", "aa"], prompts=asked),
        "rl": samples("rl", ["aaa", "aaa", "aaa", "a"], prompts=asked),
    }
    found = win_rate.evaluate(drawn).metrics["rl"]["win_rate"]
    one, two = 5 / 6, (5 / 6 + 1 / 6) / 2
    assert (found.value, found.low, found.high) == pytest.approx(((one + two) / 2, two, one))
    assert found.count == 2


def test_ties_and_the_answers_that_both_end(win_rate):
    """A labeler of three ties everything; of two answers the first ends."""
    drawn = {"sft": samples("sft", ["aa", "aa"]), "rl": samples("rl", ["aaa", "a"])}
    found = win_rate.evaluate(drawn).metrics["rl"]
    assert found["tie_rate"] == Metric(*[pytest.approx(1 / 3)] * 3, 2)
    assert found["win_rate_both_ended"] == Metric(*[pytest.approx(5 / 6)] * 3, 1)


def test_any_policy_against_any_other(win_rate):
    win_rate._config.against = ["sft", "base", "rl", "nobody"]
    drawn = {
        name: samples(name, [text]) for name, text in (("sft", "aa"), ("base", "a"), ("rl", "aaa"))
    }
    found = win_rate.evaluate(drawn)
    names = ("win_rate", "win_rate_vs_base", "win_rate_vs_rl")
    rates = {
        (policy, name): metric.value
        for policy, own in found.metrics.items()
        for name, metric in own.items()
        if name in names
    }
    assert rates == pytest.approx({
        ("base", "win_rate"): 1 / 6, ("rl", "win_rate"): 5 / 6,
        ("sft", "win_rate_vs_base"): 5 / 6, ("rl", "win_rate_vs_base"): 5 / 6,
        ("sft", "win_rate_vs_rl"): 1 / 6, ("base", "win_rate_vs_rl"): 1 / 6,
    })  # fmt: skip
    assert found.notes == ["no policy 'nobody' to compare with"]
    assert found.rows[0] == {
        "policy": "base", "prompt": drawn["sft"].prompts[0], "completion": "a",
        "win_rate": pytest.approx(1 / 6), "sft": "aa", "tie": pytest.approx(1 / 3),
        "both_ended": True, "characters_more": -1, "category": "",
    }  # fmt: skip


def test_an_unknown_policy_is_told_before_training(make_context):
    context = make_context("evaluator.win_rate.against=[basis]")
    with pytest.raises(
        UserError, match=r"win_rate.against: no policy 'basis'; did you mean 'base'"
    ):
        WinRate.check_run(context.config.evaluator["win_rate"], context)


def test_categories_of_the_data(make_context, tmp_path):
    kinds = ["chat", "list", "list"]
    rows = [{"prompt": f"Name {n}.", "category": kind} for n, kind in enumerate(kinds)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    context = make_context("data=[files]", f"data.files.prompts={tmp_path / 'p.jsonl'}")
    asked = [row["prompt"] for row in rows]
    drawn = {
        "sft": samples("sft", ["A"] * 3, prompts=asked),
        "rl": samples("rl", [GOOD, "A", GOOD], prompts=asked),
    }
    found = context.build_all("evaluator")["win_rate"].evaluate(drawn)
    assert {name: metric.count for name, metric in found.metrics["rl"].items() if "/" in name} == {
        "win_rate/chat": 1, "win_rate/list": 2,
    }  # fmt: skip
    assert [row["category"] for row in found.rows] == kinds
