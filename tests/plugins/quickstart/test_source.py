"""rlhfkit_plugins.quickstart.source: the packaged rows are what the quickstart says they are."""

from collections import Counter
from importlib.resources import files

import pytest

from rlhfkit.errors import UserError
from rlhfkit.protocols import DataSource
from rlhfkit_plugins.quickstart import QuickstartConfig
from rlhfkit_plugins.quickstart.source import QuickstartSource

USE_CASES = {
    "generation", "open_qa", "brainstorming", "chat", "rewrite", "summarization",
    "classification", "other", "closed_qa", "extract",
}  # fmt: skip


@pytest.fixture(scope="module")
def source():
    return QuickstartSource(QuickstartConfig())


def prompts_of(source, split):
    return [row["prompt"] for row in source.load(split)]


def test_splits(source):
    assert isinstance(source, DataSource)
    assert source.splits() == ("demonstrations", "prompts", "eval_prompts", "pretraining")


@pytest.mark.parametrize(
    ("split", "columns", "least"),
    [
        ("demonstrations", ["prompt", "completion", "use_case"], 200),
        ("prompts", ["prompt", "use_case"], 300),
        ("eval_prompts", ["prompt", "use_case"], 100),
        ("pretraining", ["text"], 50),
    ],
)
def test_columns_and_counts(source, split, columns, least):
    rows = source.load(split)
    assert rows.column_names == columns
    assert len(rows) >= least
    assert all(isinstance(value, str) and value.strip() for row in rows for value in row.values())


def test_the_first_rows(source):
    assert source.load("demonstrations")[0] == {
        "prompt": "Write one sentence about a rainy morning.",
        "completion": "The rainy morning tapped softly on the window while the street below filled "
        "with bright umbrellas.",
        "use_case": "generation",
    }
    assert source.load("prompts")[0] == {
        "prompt": "Write one sentence about a foggy morning by the lake.",
        "use_case": "generation",
    }


def test_every_prompt_is_trained_on_or_held_out(source):
    with (files("rlhfkit_plugins.quickstart") / "data" / "prompts.jsonl").open() as file:
        lines = sum(1 for _ in file)
    assert lines >= 400
    assert len(source.load("prompts")) + len(source.load("eval_prompts")) == lines


@pytest.mark.parametrize("split", ["demonstrations", "prompts", "eval_prompts"])
def test_all_ten_use_cases(source, split):
    assert set(source.load(split)["use_case"]) == USE_CASES


def test_no_prompt_twice(source):
    splits = ("demonstrations", "prompts", "eval_prompts")
    counts = Counter(
        " ".join(prompt.lower().split()) for split in splits for prompt in prompts_of(source, split)
    )
    assert [prompt for prompt, count in counts.items() if count > 1] == []


def test_rankings_are_not_among_them(source):
    for ask in (source.load, source.fingerprint):
        with pytest.raises(UserError, match="quickstart: has no rankings; did you mean"):
            ask("rankings")


def test_fingerprints_are_of_the_files(source):
    fingerprints = [source.fingerprint(split) for split in source.splits()]
    assert all(len(fingerprint) == 64 for fingerprint in fingerprints)
    assert len(set(fingerprints)) == 3  # both kinds of prompts stand in one file
