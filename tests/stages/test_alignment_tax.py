"""Paired differences of rows whose numbers are known, and the table that tells them."""

from rich.console import Console

from rlhfkit.stages.alignment_tax import alignment_tax, tax_table
from rlhfkit.types import Evaluation, Metric


def rows(policy, values, metric="right"):
    return [{"policy": policy, "item": item, metric: value} for item, value in values]


JUDGED = {
    "quiz": Evaluation(
        {},
        [
            *rows("base", [("a", 1.0), ("b", 1.0), ("c", 0.0)]),
            *rows("sft", [("a", 0.0), ("b", 1.0), ("c", 0.0)]),
            # two answers to a, and one to an item that nobody else answered
            *rows("rl", [("a", 1.0), ("a", 0.0), ("b", 0.0), ("d", 1.0)]),
            *rows("rl", [("a", 7.0)], "length"),
        ],
        better={"right": "higher", "absent": "lower"},
    ),
    "other": Evaluation({}, rows("rl", [("a", 1.0)], "kl")),
}


def test_differences_are_paired_by_item():
    tax = alignment_tax(JUDGED, 0.95, seed=0)
    assert list(tax) == ["right"]
    deltas = tax["right"].deltas
    assert deltas["base"]["rl"] == Metric(-0.75, -1.0, -0.5, 2)
    assert deltas["base"]["sft"] == Metric(-1 / 3, -1.0, 0.0, 3)
    assert deltas["sft"]["rl"].value == (0.5 - 1) / 2
    assert deltas["sft"]["base"].value == 1 / 3


def test_policies_that_answer_alike_differ_by_nothing():
    same = [*rows("base", [("a", 1.0), ("b", 0.3)]), *rows("rl", [("a", 1.0), ("b", 0.3)])]
    tax = alignment_tax({"quiz": Evaluation({}, same, {"right": "higher"})}, 0.95, 0)
    assert tax["right"].deltas == {"base": {"rl": Metric(0.0, 0.0, 0.0, 2)}}


def test_the_table_fits_eighty_columns():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tax_table(alignment_tax(JUDGED, 0.95, seed=0)))
    text = console.export_text()
    assert "rl - base" in text
    assert "[-1, -0.5]" in text
    assert max(map(len, text.splitlines())) <= 80
