"""The table of faults names a test for every row, and there is such a test."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "faults.md").read_text()
LINES = [line for line in TEXT.splitlines() if line.startswith("| ")]
ROWS = [line for line in LINES if not line.startswith("| what is ")]


def names_in(path):
    """Names of a file's tests, without importing it."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_row_names_a_test_that_exists(row):
    last = row.strip("| ").rpartition("| ")[2]
    named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", last)
    assert named, row
    assert named[2] in names_in(named[1]), last


def test_other_tests_named_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT)
    assert len(named) >= 30
    for path, name in named:
        assert name in names_in(path), name
