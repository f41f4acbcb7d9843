"""The SQLite file of people's judgements: its tables, its version, and how it is opened."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from rlhfkit.errors import UserError

MIGRATIONS = (
    """
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

    -- What is ranked. A row never changes: judgements refer to the texts as they were shown.
    CREATE TABLE items (
        id TEXT PRIMARY KEY,         -- a digest of all that follows
        source TEXT NOT NULL,        -- sample, evaluate or import
        content TEXT NOT NULL,       -- JSON: prompt, completions, finished, policies
        place INTEGER                -- in the present queue; NULL for what is no longer asked
    ) STRICT;

    CREATE TABLE labelers (name TEXT PRIMARY KEY, created_at REAL NOT NULL) STRICT;

    CREATE TABLE invitations (
        digest TEXT PRIMARY KEY,     -- SHA-256 of the token, which is not kept
        labeler TEXT NOT NULL REFERENCES labelers (name),
        created_at REAL NOT NULL,
        revoked_at REAL
    ) STRICT;

    CREATE TABLE assignments (
        id INTEGER PRIMARY KEY,
        item TEXT NOT NULL REFERENCES items (id),
        labeler TEXT NOT NULL REFERENCES labelers (name),
        repeat INTEGER NOT NULL,     -- 1 for a second look, to measure self-agreement
        shown TEXT NOT NULL,         -- JSON: shown[place] is the index of a completion
        seen_at REAL NOT NULL,       -- when it was last put before the labeler
        UNIQUE (item, labeler, repeat)
    ) STRICT;

    -- The record of what people said. A correction is a row with the next revision.
    CREATE TABLE judgements (
        id INTEGER PRIMARY KEY,
        assignment INTEGER NOT NULL REFERENCES assignments (id),
        revision INTEGER NOT NULL,
        ranks TEXT NOT NULL,         -- JSON: a rank per completion, 1 is best; [] for a skip
        ratings TEXT NOT NULL,       -- JSON: overall, flags and notes per completion; [] for none
        skipped TEXT NOT NULL,       -- the reason; empty for a ranking
        notes TEXT NOT NULL,
        seconds REAL NOT NULL,
        at REAL NOT NULL,
        UNIQUE (assignment, revision)
    ) STRICT;
    CREATE TRIGGER judgements_stay BEFORE UPDATE ON judgements
        BEGIN SELECT RAISE(ABORT, 'judgements are never changed'); END;
    CREATE TRIGGER judgements_last BEFORE DELETE ON judgements
        BEGIN SELECT RAISE(ABORT, 'judgements are never deleted'); END;
    """,
)
"""Each makes the next version of the file, which `PRAGMA user_version` says. None ever changes."""

BUSY_SECONDS = 5.0
"""How long another program may hold the file before a request is refused."""


def connect(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """The file, made where it is missing and brought to the present version where it is older.

    Raises `UserError` for a file that is damaged, of a later version, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{path}: cannot be opened ({error})") from error
    try:
        _refuse_damage(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
        db.execute("PRAGMA foreign_keys = ON")
        _migrate(db, path, migrations)
    except (sqlite3.Error, UserError) as error:
        db.close()
        raise UserError(f"{path}: {error}; nothing in it was changed") from error
    return db


def _refuse_damage(db: sqlite3.Connection) -> None:
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise UserError(f"the database is damaged ({' '.join(found.split())})")


def _migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    """In one transaction: a second program that opens the file waits for it."""
    db.execute("BEGIN IMMEDIATE")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise UserError(
            f"of version {version}, and this rlhfkit knows {len(migrations)}; take a later one"
        )
    if 0 < version < len(migrations):
        _back_up(path, path.with_name(f"{path.name}.v{version}"))
    for script in migrations[version:]:
        for statement in _statements(script):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(migrations)}")
    db.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """One by one: sqlite3's executescript would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _back_up(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(to)) as copy:
        db.backup(copy)
