"""What the tables of judgements hold, as values."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from rlhfkit.labelling.assignment import Assigned
from rlhfkit.labelling.items import Item, Source
from rlhfkit.labelling.submission import Submission


@dataclass(frozen=True)
class StoredJudgement:
    """A judgement that stands: of several revisions the last."""

    id: int
    item: str
    labeler: str
    source: Source

    ranks: list[int]
    """In the order of the item's completions, 1 is best, equal ranks are ties; [] for a skip."""

    shown: list[int]
    """The order on the page: shown[place] is the index of a completion."""

    seconds: float
    """0 for one from elsewhere: neither its time nor the order on the page is known."""

    repeat: bool
    """A planned second look by the same labeler."""

    skipped: str
    """The reason; empty for a ranking."""

    at: float
    ratings: list[dict[str, Any]]
    """Per completion its overall rating, flags and notes; [] where only ranks were asked."""

    notes: str


@dataclass(frozen=True)
class Assignment:
    """An item in front of a labeler."""

    id: int
    item: Item
    labeler: str
    shown: list[int]
    revision: int
    """How many judgements of it there are; the next one has this number."""

    last: Submission | None
    """What was said last, in the order of the completions."""


_JUDGED = """
    SELECT j.id, a.item, a.labeler, i.source, j.ranks, a.shown, j.seconds, a.repeat, j.skipped,
           j.at, j.ratings, j.notes, a.id AS assignment
    FROM judgements j JOIN assignments a ON a.id = j.assignment JOIN items i ON i.id = a.item
    WHERE j.revision = (SELECT MAX(revision) FROM judgements WHERE assignment = a.id)
"""


def judged_rows(db: sqlite3.Connection) -> list[StoredJudgement]:
    """All judgements that stand, the first given first."""
    return [_judged(row) for row in db.execute(f"{_JUDGED} ORDER BY j.id")]


def history_rows(db: sqlite3.Connection, labeler: str) -> list[tuple[int, StoredJudgement]]:
    """A labeler's judgements with their assignments, the last asked first."""
    query = f"{_JUDGED} AND a.labeler = ? ORDER BY a.id DESC"
    return [(row["assignment"], _judged(row)) for row in db.execute(query, (labeler,))]


def find_assignment(db: sqlite3.Connection, number: int) -> Assignment | None:
    """An assignment with its last judgement; None for a number that is none's."""
    query = (
        "SELECT a.id, a.labeler, a.shown, i.source, i.content FROM assignments a "
        "JOIN items i ON i.id = a.item WHERE a.id = ?"
    )
    row = db.execute(query, (number,)).fetchone()
    if row is None:
        return None
    query = "SELECT * FROM judgements WHERE assignment = ? ORDER BY revision"
    said = db.execute(query, (number,)).fetchall()
    shown = json.loads(row["shown"])
    last = _submission(said[-1]) if said else None
    return Assignment(row["id"], item_of(row), row["labeler"], shown, len(said), last)


def assigned_rows(db: sqlite3.Connection) -> list[Assigned]:
    """Everything that anybody was asked."""
    query = """
        SELECT a.id, a.item, a.labeler, a.repeat, a.seen_at,
               j.id IS NOT NULL, COALESCE(j.skipped, '') != ''
        FROM assignments a LEFT JOIN judgements j ON j.assignment = a.id AND j.revision =
            (SELECT MAX(revision) FROM judgements WHERE assignment = a.id)
    """
    return [
        Assigned(number, item, labeler, bool(repeat), at, bool(judged), bool(skipped))
        for number, item, labeler, repeat, at, judged, skipped in db.execute(query)
    ]


def item_of(row: sqlite3.Row) -> Item:
    """An item from its columns."""
    return Item(source=row["source"], **json.loads(row["content"]))


def _submission(row: sqlite3.Row) -> Submission:
    ranks, ratings = json.loads(row["ranks"]), json.loads(row["ratings"])
    return Submission(row["revision"], ranks, ratings, row["skipped"], row["notes"], row["seconds"])


def _judged(row: sqlite3.Row) -> StoredJudgement:
    values = {key: row[key] for key in row.keys() if key != "assignment"}  # noqa: SIM118
    parsed = {key: json.loads(values[key]) for key in ("ranks", "shown", "ratings")}
    return StoredJudgement(**{**values, **parsed, "repeat": bool(row["repeat"])})


def to_json(value: Any) -> str:
    """A value as a column holds it."""
    return json.dumps(value, ensure_ascii=False)
