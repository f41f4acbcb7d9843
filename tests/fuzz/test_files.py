"""Broken data files, read as a run reads them."""

import re

import pytest

from rlhfkit import data
from rlhfkit.errors import UserError
from tests.fuzz.broken_files import CASES, GOOD
from tests.fuzz.outcome import refused, well_formed


@pytest.fixture
def read(context, tmp_path, capsys):
    """The kept prompts of a file with this content, and how many rows were dropped."""

    def of(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        kept = data.rows_of(context({"files": {"prompts": str(path)}}), "prompts")
        said = " ".join(capsys.readouterr().out.split())
        drops = re.search(r"prompts: dropped (.*) of \d+", said)
        counts = re.findall(r"(\d+) \(", drops[1]) if drops else []
        return [row["prompt"] for row in kept], sum(map(int, counts))

    return of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_file(read, case):
    if case.says:
        line = refused(read, case.name, case.content, says=case.says)
        assert case.name in line or "data files: " in line
        return
    try:
        kept, _ = read(case.name, case.content)
    except UserError as error:
        assert case.name in str(error) or "data files: " in str(error)
        assert len(str(error).splitlines()) == 1
    else:
        assert kept
        assert all(map(well_formed, kept))


@pytest.mark.parametrize("suffix", GOOD)
def test_what_is_broken_was_whole(read, suffix):
    kept, dropped = read(f"rows{suffix}", GOOD[suffix])
    assert [prompt[0]["content"] for prompt in kept] == [
        "what is red", "what is green", "what is blue", "what is é",
    ]  # fmt: skip
    assert dropped == 0
