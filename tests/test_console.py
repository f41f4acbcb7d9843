"""Words and tables of the terminal: right plurals, and nothing cut at 80 columns."""

import ast
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

import rlhfkit
import rlhfkit_plugins
from rlhfkit.commands import compare
from rlhfkit.console import count_of, number_table, text_table
from rlhfkit.figures.comparison import Point
from rlhfkit.labelling.tables import HEAD
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.types import Metric

TABLES = ("console.py", "planning/command.py")
"""Files that make tables of their own; all others' are `text_table` or `number_table`."""


def printed(*tables):
    console = Console(width=80, file=StringIO())
    console.print(*tables)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("pair",), "0 pairs"),
        (1, ("pair",), "1 pair"),
        (1.0, ("episode",), "1 episode"),
        (2, ("pair",), "2 pairs"),
        (1, ("reply", "replies"), "1 reply"),
        (3, ("reply", "replies"), "3 replies"),
    ],
)
def test_what_is_counted_has_its_plural(count, words, said):
    assert count_of(count, *words) == said


@pytest.mark.parametrize("make", [text_table, number_table])
def test_a_table_cuts_nothing(make):
    """Numbers and names that are wider than their columns go on below."""
    table = make("stage", "seconds", "an_option_of_many_letters", title="Title")
    table.add_row("1234567890" * 8, "stage.reward_model.per_device_train_batch_size", "x" * 50)
    shown = printed(table)
    assert "…" not in shown
    letters = "".join(letter for letter in shown if letter.isalnum())
    assert letters.count("1234567890"[0]) == letters.count("0") == 8
    assert letters.count("x") == 50
    assert max(map(len, shown.splitlines())) <= 80


def test_a_column_may_be_kept_whole():
    table = text_table("stage", "state", "at", whole=("at",))
    table.add_row("reward_model " * 9, "made with other settings " * 9, "2026-11-28T01:23:45")
    assert "2026-11-28T01:23:45" in printed(table)


def test_each_labelers_numbers_fit():
    table = number_table(*HEAD, title="Each labeler")
    share = "86.1 % [80.2, 91.3]"
    table.add_row("anna", "1234", share, "12%", share, share, share, "34", "12")
    shown = printed(table)
    for number in ("1234", "86.1", "[80.2,", "91.3]", "12%"):
        assert f" {number}" in shown
    for word in ("judged", "prefers", "earlier", "seconds"):
        assert word in shown


def test_a_sweeps_numbers_fit(tmp_path):
    """Many metrics, several runs of several seeds: every number stands whole in one line."""
    metric = Metric(0.123, -0.553, 0.846, 175)
    names = ("eos_share", "kl", "length", "reward/reward_model", "win_rate", "constraints")
    found = {"rl": dict.fromkeys(names, metric)}
    values = ("0.02", "0.1", "0.5", "2.5")
    points = [Point(RunDir(tmp_path), {"kl.kl_coef": one, "seed": 1}, found, {}) for one in values]
    shown = printed(*compare._tables(points))
    assert "…" not in shown
    assert shown.count("[-0.553, 0.846]") == len(names) * len(points)
    for name in (*names, *values, "kl.kl_coef"):
        assert name in shown
    assert max(map(len, shown.splitlines())) <= 80


def made_in(file):
    """Whether a file calls rich's Table with its columns."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id == Table.__name__


def test_every_table_is_one_of_these():
    for package in (rlhfkit, rlhfkit_plugins):
        root = Path(package.__file__).parent
        for file in root.rglob("*.py"):
            place = file.relative_to(root).as_posix()
            assert place in TABLES or not any(made_in(file)), place
