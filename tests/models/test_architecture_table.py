"""docs/models.md says what is true of every architecture."""

import re
from pathlib import Path

import pytest
from hydra import initialize_config_module

from tests.models import architecture_table, tiny_architectures

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def stored():
    """The rows of the page, by architecture, with the reasons below the table in their places."""
    text = PAGE.read_text(encoding="utf-8")
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", text, re.M))
    lines = [line for line in text.splitlines() if line[:2] == "| "]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[1:]]
    found = {}
    for name, *cells in rows:
        row = dict(zip(architecture_table.COLUMNS, cells, strict=True))
        for column, cell in row.items():
            if number := re.fullmatch(r"refused \((\d+)\)", cell):
                start = "" if column == architecture_table.COLUMNS[0] else "refused: "
                row[column] = start + reasons[number[1]]
        found[name] = row
    return found


def test_nothing_is_silently_wrong():
    rows = stored()
    assert len(rows) >= 95
    bad = (architecture_table.WRONG, architecture_table.ERROR)
    assert not [name for name, row in rows.items() for cell in row.values() if cell.startswith(bad)]


def test_a_row_of_the_page(plugins):
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        made = architecture_table.results(["granite"], plugins)
    assert made["granite"] == stored()["granite"]


@pytest.mark.slow
def test_the_page(plugins):
    names, _ = tiny_architectures.buildable()
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        assert architecture_table.results(names, plugins) == stored()
