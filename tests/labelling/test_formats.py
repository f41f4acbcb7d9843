"""Exports and imports: what is written is read again, ties included, and bad rows are counted."""

import json
from contextlib import closing

import pytest

from rlhfkit.errors import UserError
from rlhfkit.labelling.formats import export, load, read_file
from rlhfkit.labelling.items import Item
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Submission

TURNS = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello: you?"},
    {"role": "user", "content": "name a fruit"},
]
ITEM = Item("sample", TURNS, ["an apple", "a pear", "a stone"], [True, True, False], ["sft"] * 3)


@pytest.fixture
def said(tmp_path):
    """Two labelers, one of whom ties."""
    with closing(Store(tmp_path / "said.sqlite")) as store:
        store.add(ITEM, "ann", Submission(0, [1, 1, 3], seconds=4.0))
        store.add(ITEM, "bob", Submission(0, [2, 1, 3]))
        yield store


@pytest.mark.parametrize("form", ["rankings", "argilla", "labelstudio"])
def test_what_is_exported_is_imported_again(said, tmp_path, form):
    file = tmp_path / "out"
    export(said, file, form, "sample")
    with closing(Store(tmp_path / "new.sqlite")) as new:
        assert load(new, read_file(file)) == (2, 0)
        assert load(new, read_file(file)) == (0, 2)
        (item,) = new.items().values()
        assert (item.prompt, item.completions) == (ITEM.prompt, ITEM.completions)
        assert {(one.labeler, tuple(one.ranks)) for one in new.judged()} == {
            ("ann", (1, 1, 3)),
            ("bob", (2, 1, 3)),
        }


def test_an_export_comes_home_without_doubling_anything(said, tmp_path):
    export(said, tmp_path / "out", "rankings", "sample")
    assert load(said, read_file(tmp_path / "out")) == (0, 2)
    assert len(said.judged()) == 2


def test_trl_gets_every_pair_that_is_no_tie(said, tmp_path):
    assert export(said, tmp_path / "out", "trl", "sample") == 5
    rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    pairs = [
        (row["labeler"], row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows
    ]
    assert pairs == [
        ("ann", "an apple", "a stone"),
        ("ann", "a pear", "a stone"),
        ("bob", "an apple", "a stone"),
        ("bob", "a pear", "an apple"),
        ("bob", "a pear", "a stone"),
    ]
    assert rows[0]["prompt"] == TURNS
    assert rows[0]["chosen"] == [{"role": "assistant", "content": "an apple"}]


def test_label_studio_gets_a_bucket_per_rank(said, tmp_path):
    export(said, tmp_path / "out", "labelstudio", "sample")
    (task,) = json.loads((tmp_path / "out").read_text())
    assert task["data"]["items"][2] == {"id": "3", "title": "Answer 3", "body": "a stone"}
    assert "completed_by" not in task["annotations"][0]
    result, who = task["annotations"][0]["result"]
    assert (result["type"], who["value"]) == ("ranker", {"text": ["ann"]})
    assert result["value"] == {"ranker": {"rank_1": ["1", "2"], "rank_2": [], "rank_3": ["3"]}}
    config = (tmp_path / "out.xml").read_text()
    assert config.count("<Bucket") == 3
    assert '<Bucket name="rank_3" title="Rank 3"/>' in config


FOREIGN = {
    "TRL": {"prompt": "q", "chosen": "a", "rejected": "b"},
    "scores": {"prompt": "q", "completions": ["a", "b"], "scores": [2, 1]},
    "Argilla, two columns": {
        "prompt": "q", "response_1": "a", "response_2": "b",
        "ranking": [{"user_id": "u", "status": "submitted",
                     "value": {"rank": [1, 2], "value": ["response_1", "response_2"]}},
                    {"user_id": "v", "status": "discarded", "value": None}],
    },
    "Argilla's client": {
        "id": "1", "fields": {"prompt": "q", "r1": "a", "r2": "b"}, "metadata": None,
        "responses": {"ranking": [{"user_id": "u", "value": [
            {"rank": 2, "value": "r2"}, {"rank": 1, "value": "r1"}]}]},
    },
    "Argilla's API": {
        "id": "1", "fields": {"prompt": "q", "r1": "a", "r2": "b"}, "metadata": {},
        "responses": [
            {"user_id": "u", "status": "submitted", "values": {"ranking": {"value": [
                {"value": "r1", "rank": 1}, {"value": "r2", "rank": 2}]}}},
            {"user_id": "v", "status": "draft", "values": {"ranking": {"value": [
                {"value": "r1", "rank": 1}]}}},
            {"user_id": "w", "status": "discarded", "values": None},
        ],
    },
    "Label Studio, one list": {
        "data": {"prompt": "q", "items": [{"id": "x", "body": "a"}, {"id": "y", "body": "b"}]},
        "annotations": [{"completed_by": 3, "was_cancelled": True, "result": [
            {"type": "ranker", "value": {"ranker": {"rank": ["y", "x"]}}}]},
            {"completed_by": {"id": 7, "email": "u@b.org"}, "result": [
            {"type": "textarea", "from_name": "why", "value": {"text": ["fine"]}},
            {"type": "ranker", "value": {"ranker": {"rank": ["x", "y"]}}}]}],
    },
}  # fmt: skip


def test_items_of_argillas_api_are_read(tmp_path):
    found = {"items": [FOREIGN["Argilla's API"]], "total": 1}
    (tmp_path / "in").write_text(json.dumps(found))
    ((item, name, ranks),) = read_file(tmp_path / "in")
    assert (item.completions, name, ranks) == (["a", "b"], "u", [1, 2])


def test_ten_answers_of_argilla_keep_their_order(tmp_path):
    """Fields sort as texts do."""
    item = Item("sample", TURNS[:1], [f"answer {place}" for place in range(11)], [True] * 11)
    with closing(Store(tmp_path / "a.sqlite")) as store:
        store.add(item, "ann", Submission(0, [*range(1, 12)]))
        export(store, tmp_path / "out", "argilla", "sample")
    ((again, _, ranks),) = read_file(tmp_path / "out")
    assert (again.completions, ranks) == (item.completions, [*range(1, 12)])


@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_write_is_read(tmp_path, name):
    (tmp_path / "in").write_text(json.dumps([FOREIGN[name]]))
    with closing(Store(tmp_path / "x.sqlite")) as store:
        assert load(store, read_file(tmp_path / "in")) == (1, 0)
        (item,), (judged,) = store.items().values(), store.judged()
        assert (item.completions, judged.ranks) == (["a", "b"], [1, 2])
        assert judged.source == "import"


BAD = {
    "ranks": {"prompt": "q", "completions": ["a", "b"], "ranks": [1]},
    "a text": "hello",
    "a number": 3,
    "nothing": {},
    "empty": {"prompt": "", "chosen": "a", "rejected": "b"},
    "half a surrogate pair": {"prompt": "q", "chosen": "\ud800", "rejected": "b"},
    "a bucket without rank": {
        "data": {"prompt": "q", "items": [{"id": "x", "body": "a"}, {"id": "y", "body": "b"}]},
        "annotations": [{"result": [
            {"type": "ranker", "value": {"ranker": {"good": ["x"], "bad": ["y"]}}}]}],
    },
    "Argilla without ranks": {
        "fields": {"prompt": "q", "r1": "a", "r2": "b"}, "metadata": {},
        "responses": {"ranking": [{"user_id": "u", "value": ["r1", "r2"]}]},
    },
    "Argilla, an option that is no field": {
        "fields": {"prompt": "q", "r1": "a", "r2": "b"},
        "responses": {"ranking": [{"user_id": "u", "value": [
            {"rank": 1, "value": "r1"}, {"rank": 2, "value": "r2"}, {"rank": 3, "value": "x"}]}]},
    },
    "simulated labelers": {
        "prompt": "q", "completions": ["a", "b"], "ranks": [1, 2], "labeler": "simulated-warm",
    },
    "one answer": {
        "data": {"prompt": "q", "items": [{"id": "x", "body": "a"}]},
        "annotations": [{"result": [{"type": "ranker", "value": {"ranker": {"r": ["x"]}}}]}],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_left_out_and_counted(tmp_path, capsys, name):
    good = FOREIGN["TRL"]
    (tmp_path / "in").write_text("\n".join(map(json.dumps, [good, BAD[name]])))
    with closing(Store(tmp_path / "x.sqlite")) as store:
        assert load(store, read_file(tmp_path / "in")) == (1, 0)
        assert len(store.judged()) == 1
    assert "left out 1" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "", "\x00", '{"a": 1}'])
def test_files_without_a_ranking_are_refused(tmp_path, content):
    (tmp_path / "in").write_text(content)
    with closing(Store(tmp_path / "x.sqlite")) as store, pytest.raises(UserError, match="in: "):
        load(store, read_file(tmp_path / "in"))


def test_blanks_in_names_are_of_no_account(tmp_path):
    row = {"prompt": "q", "completions": ["a", "b"], "ranks": [1, 2], "labeler": "Ann   B"}
    (tmp_path / "in").write_text(json.dumps(row))
    with closing(Store(tmp_path / "x.sqlite")) as store:
        assert load(store, read_file(tmp_path / "in")) == (1, 0)
        assert [one.labeler for one in store.judged()] == ["Ann B"]
        assert store.add(ITEM, " Ann  B ", Submission(0, [1, 2, 3]))


@pytest.mark.parametrize("name", ["said.sqlite", "said.sqlite-wal", "./said.sqlite"])
def test_nothing_is_exported_over_the_judgements(said, tmp_path, name):
    before = (tmp_path / "said.sqlite").read_bytes()
    with pytest.raises(UserError, match="the judgements are in it"):
        export(said, tmp_path / name, "rankings", "sample")
    assert (tmp_path / "said.sqlite").read_bytes() == before


def test_what_others_keep_as_metadata_is_left_alone(tmp_path):
    row = FOREIGN["Argilla's client"] | {"metadata": {"labelers": 3, "messages": "hello"}}
    (tmp_path / "in").write_text(json.dumps([row]))
    ((item, name, _),) = read_file(tmp_path / "in")
    assert (item.prompt[0]["content"], name) == ("q", "u")


def test_names_of_elsewhere_become_names_of_here(tmp_path):
    row = {"prompt": "q", "completions": ["a", "b"], "ranks": [1, 2], "labeler": " <Ann>/" * 20}
    (tmp_path / "in").write_text(json.dumps(row))
    with closing(Store(tmp_path / "x.sqlite")) as store:
        load(store, read_file(tmp_path / "in"))
        (judged,) = store.judged()
        assert judged.labeler == ("_Ann_ " * 7)[:40]
