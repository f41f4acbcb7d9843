"""Broken rows are dropped and counted, whatever file they stand in; alone they are refused."""

import gzip
import json

import pytest

from rlhfkit.data import sources
from tests.fuzz.broken_rows import CASES, GOOD, SPLIT, Rows
from tests.fuzz.outcome import refused, well_formed


@pytest.fixture
def read(context, tmp_path):
    """The items of a split that rows of a form give."""

    def of(case, *rows):
        path = tmp_path / "rows.jsonl.gz"
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(lines.encode(), 1))
        source = context({"files": {case.split: str(path)}})
        return [item for _, item in sources._read(source, case.split)]

    return of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_row(read, capsys, case):
    kept = read(case, GOOD[case.form], case.bad, GOOD[case.form])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{case.split}: dropped 1 ({case.says}" in said
    assert said.endswith(" of 3")
    assert len(kept) == 2
    assert all(map(well_formed, kept))


@pytest.mark.parametrize("form", GOOD)
def test_nothing_but_broken_rows(read, form):
    case = next(case for case in CASES if case.form == form)
    line = refused(read, case, case.bad, case.bad)
    first = "no usable row in" if set(GOOD[form]) <= set(case.bad) else "has no column"
    assert first in line
    assert SPLIT.get(form, form) in line


@pytest.mark.parametrize("form", GOOD)
def test_what_is_broken_was_whole(read, form):
    assert len(read(Rows("", form, {}, ""), GOOD[form])) == 1
