"""People's judgements on disk: one SQLite file per run, to which is only ever added."""

import json
import logging
import os
import random
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path

from rlhfkit.labelling.assignment import Choice, Plan, choose, open_for
from rlhfkit.labelling.invitations import labeler_of, require_name
from rlhfkit.labelling.items import Item
from rlhfkit.labelling.records import (
    Assignment,
    StoredJudgement,
    assigned_rows,
    find_assignment,
    history_rows,
    item_of,
    judged_rows,
    to_json,
)
from rlhfkit.labelling.schema import connect
from rlhfkit.labelling.submission import Refused, Submission
from rlhfkit.web.tokens import digest, new_token

logger = logging.getLogger("rlhfkit.labelling")


class Store:
    """Safe for the threads of a server and for several programs at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = connect(path)
        self._db.row_factory = sqlite3.Row
        self._lock = threading.Lock()
        self._file = os.stat(path).st_ino

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # Items and labelers

    def ask(self, items: Sequence[Item]) -> None:
        """Make these the queue; judgements of others stay."""
        with self._writing() as db:
            db.execute("UPDATE items SET place = NULL")
            for place, item in enumerate(items):
                _add_item(db, item)
                db.execute("UPDATE items SET place = ? WHERE id = ?", (place, item.id))

    def items(self) -> dict[str, Item]:
        """Everything that was ever asked or imported, by id."""
        with self._reading() as db:
            return {row["id"]: item_of(row) for row in db.execute("SELECT * FROM items")}

    def invite(self, name: str) -> str:
        """A new token for a labeler, who is added where he is not known; others of his stay."""
        name, token = require_name(name), new_token()
        with self._writing() as db:
            _add_labeler(db, name)
            row = (digest(token), name, time.time())
            db.execute("INSERT INTO invitations VALUES (?, ?, ?, NULL)", row)
        return token

    def revoke(self, name: str) -> int:
        """End all invitations of a labeler; gives how many there were. Judgements stay."""
        with self._writing() as db:
            query = "UPDATE invitations SET revoked_at = ? WHERE labeler = ? AND revoked_at IS NULL"
            return db.execute(query, (time.time(), require_name(name))).rowcount

    def labeler(self, token: str) -> str | None:
        """Whose invitation a token is; None for nobody's."""
        with self._reading() as db:
            rows = db.execute("SELECT digest, labeler FROM invitations WHERE revoked_at IS NULL")
            return labeler_of(token, [tuple(row) for row in rows])

    def invited(self) -> list[str]:
        """Labelers with an invitation."""
        query = "SELECT DISTINCT labeler FROM invitations WHERE revoked_at IS NULL ORDER BY 1"
        with self._reading() as db:
            return [row["labeler"] for row in db.execute(query)]

    def secret(self) -> str:
        """What form tokens are made with: it outlives the server, as open pages do."""
        with self._writing() as db:
            new = ("forms", secrets.token_hex(32))
            db.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", new)
            query = "SELECT value FROM secrets WHERE name = 'forms'"
            return str(db.execute(query).fetchone()["value"])

    # Assignments and judgements

    def next_assignment(self, labeler: str, plan: Plan) -> Assignment | None:
        """What the labeler is asked now: the same until it is judged, also in a second tab."""
        with self._writing() as db:
            queue = [
                row["id"]
                for row in db.execute("SELECT id FROM items WHERE place IS NOT NULL ORDER BY place")
            ]
            choice = choose(queue, assigned_rows(db), labeler, plan, time.time())
            if choice is None:
                return None
            number = choice.open if choice.open is not None else _assign(db, choice, labeler)
            if choice.open is not None:
                db.execute("UPDATE assignments SET seen_at = ? WHERE id = ?", (time.time(), number))
            return find_assignment(db, number)

    def assignment(self, number: int, labeler: str) -> Assignment:
        """One of the labeler's; `Refused` for anybody else's and for none."""
        with self._reading() as db:
            found = find_assignment(db, number)
        if found is None or found.labeler != labeler:
            raise Refused(404, "you were not asked this item")
        return found

    def judge(self, assignment: Assignment, said: Submission) -> bool:
        """Store a judgement or its correction; False for one that is stored already.

        Raises `Refused` where another one was stored meanwhile, and where the file fails.
        """
        with self._writing() as db:
            now = find_assignment(db, assignment.id)
            if now is None:
                raise Refused(404, "you were not asked this item")
            if said.revision == now.revision - 1 and now.last and now.last.said == said.said:
                return False
            if said.revision != now.revision:
                raise Refused(409, "this item was judged meanwhile, in another tab: reload it")
            columns = (assignment.id, said.revision, *map(to_json, (said.ranks, said.ratings)))
            rest = (said.skipped, said.notes, said.seconds, time.time())
            db.execute(
                "INSERT INTO judgements (assignment, revision, ranks, ratings, skipped, notes, "
                "seconds, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*columns, *rest),
            )
        return True

    def judged(self) -> list[StoredJudgement]:
        """All judgements that stand, the first given first."""
        with self._reading() as db:
            return judged_rows(db)

    def history(self, labeler: str) -> list[tuple[int, StoredJudgement]]:
        """A labeler's judgements with their assignments, the last asked first."""
        with self._reading() as db:
            return history_rows(db, labeler)

    def open_items(self, labeler: str, plan: Plan) -> int:
        """How many items of the queue the labeler could still be asked."""
        with self._reading() as db:
            queue = [row["id"] for row in db.execute("SELECT id FROM items WHERE place >= 0")]
            return open_for(queue, assigned_rows(db), labeler, plan, time.time())

    def add(self, item: Item, labeler: str, said: Submission) -> bool:
        """A judgement from elsewhere; False for one that is here."""
        labeler = require_name(labeler)
        with self._writing() as db:
            _add_item(db, item)
            _add_labeler(db, labeler)
            shown = to_json(list(range(len(item.completions))))
            row = (item.id, labeler, shown, time.time())
            db.execute(
                "INSERT OR IGNORE INTO assignments (item, labeler, repeat, shown, seen_at) "
                "VALUES (?, ?, 0, ?, ?)",
                row,
            )
            query = "SELECT id FROM assignments WHERE item = ? AND labeler = ? AND repeat = 0"
            number = db.execute(query, (item.id, labeler)).fetchone()["id"]
            assignment = find_assignment(db, number)
        assert assignment is not None
        if assignment.last is not None:
            return False
        return self.judge(assignment, said)

    # One place where the file is touched

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Of one moment; never waits for a writer."""
        return self._transaction("DEFERRED")

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """All or nothing."""
        return self._transaction("IMMEDIATE")

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """What SQLite has to say becomes a `Refused` that a labeler understands."""
        with self._lock:
            try:
                self._require_file()
                self._db.execute(f"BEGIN {kind}")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.Error):
                    raise _failure(self.path, error) from error
                raise

    def _require_file(self) -> None:
        """Somebody may have removed the run: what is written to a deleted file is lost."""
        try:
            there = os.stat(self.path).st_ino == self._file
        except OSError:
            there = False
        if not there:
            logger.error("%s was removed or replaced while the page was open", self.path)
            raise Refused(500, "nothing was stored: the database file was removed or replaced")

    def _roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            logger.error("%s: cannot roll back: %s", self.path, error)


def _add_item(db: sqlite3.Connection, item: Item) -> None:
    content = {key: value for key, value in asdict(item).items() if key != "source"}
    row = (item.id, item.source, to_json(content))
    db.execute("INSERT OR IGNORE INTO items (id, source, content) VALUES (?, ?, ?)", row)


def _add_labeler(db: sqlite3.Connection, name: str) -> None:
    db.execute("INSERT OR IGNORE INTO labelers VALUES (?, ?)", (name, time.time()))


def _assign(db: sqlite3.Connection, choice: Choice, labeler: str) -> int:
    """A new assignment with an order of its own."""
    content = db.execute("SELECT content FROM items WHERE id = ?", (choice.item,)).fetchone()[0]
    shown = list(range(len(json.loads(content)["completions"])))
    random.SystemRandom().shuffle(shown)
    row = (choice.item, labeler, choice.repeat, to_json(shown), time.time())
    query = "INSERT INTO assignments (item, labeler, repeat, shown, seen_at) VALUES (?, ?, ?, ?, ?)"
    number = db.execute(query, row).lastrowid
    assert number is not None
    return number


def _failure(path: Path, error: sqlite3.Error) -> Refused:
    """What the labeler is told; the page keeps the draft in every case."""
    logger.error("%s: %s", path, error)
    text = str(error)
    if "locked" in text or "busy" in text:
        return Refused(503, "nothing was stored: the database is locked by another program")
    if "full" in text:
        return Refused(507, "nothing was stored: the disk is full")
    return Refused(500, f"nothing was stored: the database failed ({text})")
