"""Broken data files, read as a run reads them."""

import re

import pytest

from rlhfkit.data import sources
from rlhfkit.errors import UserError
from tests.fuzz.broken_files import CASES, GOOD
from tests.fuzz.outcome import well_formed


@pytest.fixture
def read(context, tmp_path, capsys):
    """The kept prompts of a file with this content, and how many rows were dropped."""

    def of(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        kept = sources.rows_of(context({"files": {"prompts": str(path)}}), "prompts")
        said = " ".join(capsys.readouterr().out.split())
        drops = re.search(r"prompts: dropped (.*) of \d+", said)
        counts = re.findall(r"(\d+) \(", drops[1]) if drops else []
        return [row["prompt"] for row in kept], sum(map(int, counts))

    return of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_file(read, case):
    kept, line = [], ""
    try:
        kept, _ = read(case.name, case.content)
    except UserError as error:
        line = str(error)
    assert bool(kept) != bool(line)
    assert all(map(well_formed, kept))
    if case.says or line:
        assert case.says in line
        assert case.name in line or "data files: " in line
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize("suffix", GOOD)
def test_what_is_broken_was_whole(read, suffix):
    kept, dropped = read(f"rows{suffix}", GOOD[suffix])
    assert [prompt[0]["content"] for prompt in kept] == [
        "what is red", "what is green", "what is blue", "what is é",
    ]  # fmt: skip
    assert dropped == 0
