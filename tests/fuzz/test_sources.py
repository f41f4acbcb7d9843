"""Broken dialogues, folders and paths, read as a run reads them."""

import json

import pytest

from rlhfkit.data import sources
from tests.fuzz.broken_dialogues import CASES, GOOD, OTHER
from tests.fuzz.broken_folders import FOLDERS, PLACES
from tests.fuzz.outcome import refused, well_formed


@pytest.fixture
def dialogues(context, tmp_path):
    """The rankings of pairs of dialogues."""

    def read(*chosen):
        path = tmp_path / "pairs.jsonl"
        rows = [{"chosen": text, "rejected": OTHER} for text in chosen]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return sources.rankings(context({"hh_rlhf": {"path": str(path)}}))

    return read


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_dialogue(dialogues, capsys, case):
    kept = dialogues(GOOD, case.chosen, GOOD)
    said = " ".join(capsys.readouterr().out.split())
    assert f"hh_rlhf rankings: dropped 1 ({case.says}) of 3" in said
    assert len(kept) == 2
    assert all(map(well_formed, kept))
    refused(dialogues, case.chosen, says="data hh_rlhf: no usable pair in", names="pairs.jsonl")


def test_a_pair_of_equals(dialogues, capsys):
    assert len(dialogues(GOOD, OTHER)) == 1
    assert "rankings: dropped 1 (equal completions of different ranks)" in capsys.readouterr().out


@pytest.mark.parametrize("case", FOLDERS, ids=lambda case: case.id)
def test_a_folder(context, tmp_path, case):
    folder = tmp_path / "rows"
    folder.mkdir()
    case.make(folder)
    option = case.option.format(folder=folder)
    source = context({"hub": {"prompts": option}})
    named = "data hub" if "column" in case.says else option.split(":")[0]
    refused(sources.rows_of, source, "prompts", says=case.says, names=named)


@pytest.mark.parametrize("case", PLACES, ids=lambda case: case.id)
@pytest.mark.parametrize("ask", ["load", "fingerprint"])
def test_a_place(context, tmp_path, monkeypatch, case, ask):
    monkeypatch.chdir(tmp_path)
    case.make(tmp_path / case.path)
    source = context({"files": {"prompts": case.path}}).build_all("data")["files"]
    refused(getattr(source, ask), "prompts", says=case.says)
