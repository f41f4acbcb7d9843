"""Exports against the packages of Argilla and Label Studio themselves, where they are installed:
`pip install argilla label-studio-sdk`. Without them test_formats.py has their forms as literals."""

import json
from contextlib import closing

import pytest

from rlhfkit.labelling.formats import export, read_file
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Submission
from tests.labelling.test_formats import ITEM

RANKS = {"ann": [1, 1, 3], "bob": [2, 1, 3]}


@pytest.fixture
def exported(tmp_path):
    """`exported("argilla")`: a file with two rankings, one with a tie."""

    def write(form):
        with closing(Store(tmp_path / "said.sqlite")) as store:
            for name, ranks in RANKS.items():
                store.add(ITEM, name, Submission(0, ranks))
            export(store, tmp_path / form, form, "sample")
        return tmp_path / form

    return write


def test_argillas_own_reader_takes_the_file_and_its_own_writer_gives_it_back(exported, tmp_path):
    pytest.importorskip("argilla", reason="argilla is not installed: its forms are literals only")
    from argilla._models import UserResponseModel
    from argilla.records._io import JsonIO

    (record,) = JsonIO._records_from_json(exported("argilla"))
    assert record.fields["response_3"] == "a stone"
    for response in record.responses["ranking"]:
        model = UserResponseModel(
            values={"ranking": {"value": response.value}},
            status=response.status,
            user_id=response.user_id,
        )
        assert model.status.value == "submitted"
    JsonIO.to_json([record], tmp_path / "back.json")
    found = read_file(tmp_path / "back.json")
    assert {name: ranks for _, name, ranks in found} == RANKS
    assert found[0][0].prompt == ITEM.prompt


def test_label_studios_own_validator_takes_the_file(exported):
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface",
        reason="label-studio-sdk is not installed: its forms are literals only",
    )
    file = exported("labelstudio")
    (task,) = json.loads(file.read_text())
    page = interface.LabelInterface(file.with_name("labelstudio.xml").read_text())
    page.validate()
    assert page.validate_task({"data": task["data"]})
    for annotation in task["annotations"]:
        assert page._validate_object(annotation, return_errors=True) == []
    broken = task["annotations"][0]
    broken["result"][0]["value"] = {"ranker": {"rank_1": "1"}}
    assert not page.validate_annotation(broken)
