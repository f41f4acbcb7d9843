"""The SQLite file: append only, versions, and what happens when disk or another program fails."""

import json
import sqlite3
import threading
from contextlib import closing

import pytest

from rlhfkit.errors import UserError
from rlhfkit.labelling import schema
from rlhfkit.labelling.assignment import Plan
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Refused, Submission

RANKED = Submission(0, [1, 2, 2], seconds=3.0)


def judge_one(store, said=RANKED):
    store.invite("ann")
    assignment = store.next_assignment("ann", Plan())
    assert store.judge(assignment, said)
    return assignment


def test_a_correction_is_added_and_the_first_judgement_stays(store):
    assignment = judge_one(store)
    assert store.judge(assignment, Submission(1, [2, 1, 1]))
    (stands,) = store.judged()
    assert (stands.ranks, stands.labeler, stands.shown) == ([2, 1, 1], "ann", assignment.shown)
    rows = store._db.execute("SELECT revision, ranks FROM judgements").fetchall()
    assert [(row[0], json.loads(row[1])) for row in rows] == [(0, [1, 2, 2]), (1, [2, 1, 1])]


@pytest.mark.parametrize("statement", ["DELETE FROM judgements", "UPDATE judgements SET at = 0"])
def test_judgements_cannot_be_changed_even_by_sql(store, statement):
    judge_one(store)
    with pytest.raises(sqlite3.IntegrityError, match="judgements are never"):
        store._db.execute(statement)


def test_the_same_judgement_twice_is_stored_once_and_another_is_refused(store):
    assignment = judge_one(store)
    assert not store.judge(assignment, Submission(0, [1, 2, 2], seconds=9.0))
    with pytest.raises(Refused, match="judged meanwhile, in another tab"):
        store.judge(assignment, Submission(0, [3, 2, 1]))
    assert len(store.judged()) == 1


def test_a_new_store_goes_on_where_the_old_one_ended(store):
    judge_one(store)
    shown = store.next_assignment("ann", Plan())
    with closing(Store(store.path)) as again:
        assert again.next_assignment("ann", Plan()) == shown
        assert again.judged() == store.judged()
        assert again.secret() == store.secret()


def test_an_older_file_is_migrated_after_a_copy_was_made(tmp_path):
    path = tmp_path / "x.sqlite"
    schema.connect(path).close()
    newer = (*schema.MIGRATIONS, "ALTER TABLE items ADD COLUMN colour TEXT;")
    with closing(schema.connect(path, newer)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 2
        assert db.execute("SELECT colour FROM items").fetchall() == []
    with closing(sqlite3.connect(f"{path}.v1")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone()[0] == 1
    with pytest.raises(UserError, match="of version 2, and this rlhfkit knows 1"):
        schema.connect(path)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 99])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.sqlite: .*nothing in it was changed"):
        Store(path)
    assert path.read_bytes() == content


def test_a_full_disk_loses_nothing_that_was_stored(store, told):
    assignment = judge_one(store)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    said = [Submission(revision, [1, 2, 3], notes="n" * 5000) for revision in range(1, 200)]
    with pytest.raises(Refused, match="the disk is full") as refused:
        [store.judge(assignment, one) for one in said]
    assert refused.value.status == 507
    assert "full" in told.text
    before = len(store.history("ann"))
    store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert store.assignment(assignment.id, "ann").revision >= 1
    assert len(store.history("ann")) == before == 1


def test_a_file_locked_by_another_program_is_waited_for_and_then_said(store, monkeypatch, told):
    assignment = judge_one(store)
    store._db.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Refused, match="locked by another program") as refused:
            store.judge(assignment, Submission(1, [3, 2, 1]))
        assert refused.value.status == 503
        assert len(store.judged()) == 1  # reading goes on
        other.execute("ROLLBACK")
    assert store.judge(assignment, Submission(1, [3, 2, 1]))
    assert "locked" in told.text


def test_a_run_that_is_removed_under_the_page_is_noticed(store):
    assignment = judge_one(store)
    store.path.rename(store.path.with_name("away.sqlite"))
    with pytest.raises(Refused, match="removed or replaced"):
        store.judge(assignment, Submission(1, [3, 2, 1]))


def test_many_threads_and_two_stores_share_one_file(store):
    names = [f"labeler {number}" for number in range(8)]
    for name in names:
        store.invite(name)
    errors = []

    def work(own, name):
        try:
            while (assignment := own.next_assignment(name, Plan(overlap=2, repeats=0))) is not None:
                own.judge(assignment, RANKED)
        except Exception as error:
            errors.append(error)

    with closing(Store(store.path)) as other:
        threads = [
            threading.Thread(target=work, args=(own, name))
            for own, name in zip([store, other] * 4, names, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    pairs = [(one.item, one.labeler) for one in store.judged()]
    assert len(pairs) == len(set(pairs)) == 20
