"""rlhfkit_plugins.quickstart.source: the packaged rows are what the quickstart says they are."""

from collections import Counter

import pytest

from rlhfkit.errors import UserError
from rlhfkit.protocols import DataSource
from rlhfkit_plugins.quickstart import QuickstartConfig
from rlhfkit_plugins.quickstart.source import QuickstartSource
from rlhfkit_plugins.rubrics import Rubric

USE_CASES = {"open_qa", "generation", "brainstorming"}
OF_PROMPTS = ["use_case", "category", "accepted", "rubric"]


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
        ("demonstrations", ["prompt", *OF_PROMPTS[:2], "completion", *OF_PROMPTS[2:]], 100),
        ("prompts", ["prompt", *OF_PROMPTS], 500),
        ("eval_prompts", ["prompt", *OF_PROMPTS], 150),
        ("pretraining", ["text"], 50),
    ],
)
def test_columns_and_counts(source, split, columns, least):
    rows = source.load(split)
    assert rows.column_names == columns
    assert len(rows) >= least
    texts = [value for row in rows for value in row.values() if isinstance(value, str)]
    assert len(texts) >= least
    assert all(text.strip() for text in texts)


def test_the_first_rows(source):
    first = source.load("demonstrations")[0]
    assert first["prompt"] == "What is the capital of France?"
    assert first["completion"] == "The capital of France is Paris."
    assert first["accepted"] == ["Paris"]
    assert Rubric.of(first["rubric"]) == Rubric(
        contains=[["Paris"]], form=["unquoted"], words=[1, 20]
    )
    assert source.load("eval_prompts")[0]["prompt"] == "Which city is the capital of Italy?"


@pytest.mark.parametrize("split", ["demonstrations", "prompts", "eval_prompts"])
def test_use_cases(source, split):
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
    assert len(set(fingerprints)) == 4
