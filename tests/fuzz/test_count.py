"""How many malformed inputs there are; each has an id of its own among those of its kind."""

import pytest

from tests.fuzz import (
    broken_answers,
    broken_checkpoints,
    broken_dialogues,
    broken_files,
    broken_folders,
    broken_models,
    broken_options,
    broken_rows,
    broken_runs,
)

MODELS = (
    *broken_models.CONFIGS,
    *broken_models.STORED,
    *broken_models.TOKENIZERS,
    *broken_models.ADAPTERS,
    *broken_models.HEADS,
    *broken_models.CLASSIFIERS,
)
KINDS = {
    "data files": [case.id for case in broken_files.CASES],
    "rows of data": [case.id for case in broken_rows.CASES],
    "dialogues": [case.id for case in broken_dialogues.CASES],
    "folders": [case.id for case in broken_folders.FOLDERS],
    "places of files": [case.id for case in broken_folders.PLACES],
    "overrides": [case.id for case in broken_options.OVERRIDES],
    "recipes": [*broken_options.RECIPES],
    "run directories": [case.id for case in broken_runs.DAMAGES],
    "rows of stages": [*broken_runs.ALTERED, *broken_runs.RANKS],
    "evaluations": [*broken_runs.METRICS],
    "models and tokenizers": [case.id for case in MODELS],
    "answers of rewards": [*broken_answers.REWARDS],
    "answers of labelers": [*broken_answers.LABELERS],
    "checkpoints": [case.id for case in broken_checkpoints.CASES],
}


def test_there_are_more_than_300():
    assert sum(map(len, KINDS.values())) >= 800
    assert all(len(ids) >= 10 for ids in KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_each_can_be_repeated_by_its_id(kind):
    assert len(KINDS[kind]) == len(set(KINDS[kind]))
