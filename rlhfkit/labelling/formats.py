"""Judgements to and from other programs: rows of rankings, TRL's pairs, Argilla, Label Studio."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from rlhfkit.console import console, count_of
from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.data.schemas import schema_of
from rlhfkit.errors import UserError
from rlhfkit.labelling.argilla import argilla_rows, read_argilla
from rlhfkit.labelling.foreign import Imported, Row, Said
from rlhfkit.labelling.invitations import require_name
from rlhfkit.labelling.items import Item, require_texts
from rlhfkit.labelling.label_studio import labelstudio_config, labelstudio_rows, read_labelstudio
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Submission
from rlhfkit.storage.run_dir import write_json, write_jsonl
from rlhfkit.types import Ranking


def export(store: Store, path: Path, form: str, of: str) -> int:
    """Write the rankings of `sample` (imported ones too) or `evaluate`; gives how many rows. For
    Label Studio its project's configuration stands beside, as FILE.xml."""
    if path.resolve().name.startswith(store.path.name) and path.resolve().parent == (
        store.path.resolve().parent
    ):
        raise UserError(f"label --export {path}: the judgements are in it; choose another file")
    items = store.items()
    said = [
        (items[one.item], one)
        for one in store.judged()
        if one.ranks and (one.source == "evaluate") == (of == "evaluate")
    ]
    rows = list(_WRITERS[form](said))
    try:
        (write_json if form in ("argilla", "labelstudio") else write_jsonl)(path, rows)
        if form == "labelstudio":
            most = max((len(item.completions) for item, _ in said), default=2)
            config = path.with_name(f"{path.name}.xml")
            config.write_text(labelstudio_config(most), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    return len(rows)


def load(store: Store, found: Sequence[Imported]) -> tuple[int, int]:
    """Add judgements; gives how many were new and how many known."""
    new = sum(store.add(item, name, Submission(0, ranks)) for item, name, ranks in found)
    return new, len(found) - new


def read_file(path: Path) -> list[Imported]:
    """A file's judgements. Rows that cannot be used are left out and counted; `UserError` where
    that is all of them."""
    drops, found = Counter[str](), list[Imported]()
    rows = _rows(path)
    for row in rows:
        try:
            found += [_checked(*one) for one in _read(path, row)]
        except (UserError, ValueError) as error:
            drops[str(error)] += 1
        except (LookupError, TypeError, AttributeError):
            drops["of no known form"] += 1
    if drops:
        reasons = ", ".join(f"{count} ({reason})" for reason, count in drops.most_common())
        console.print(f"left out {reasons} of {len(rows)}", style="yellow", markup=False)
    if not found:
        raise UserError(f"{path}: no usable ranking in {count_of(len(rows), 'row')}")
    return found


# Writing


def _rankings(said: Said) -> Iterator[Row]:
    """As `data.files.rankings` reads them, with all that is known beside."""
    for item, one in said:
        yield {
            "prompt": item.prompt,
            "completions": item.completions,
            "ranks": one.ranks,
            "finished": item.finished,
            "labeler": one.labeler,
            "item": one.item,
            "shown": one.shown,
            "seconds": one.seconds,
            "repeat": one.repeat,
            "at": one.at,
            "ratings": one.ratings,
            "notes": one.notes,
        }


def _trl(said: Said) -> Iterator[Row]:
    """TRL's preference rows: every pair that is no tie; second looks say nothing new."""
    for item, one in said:
        for better, worse in permutations(range(len(one.ranks)), 2):
            if one.ranks[better] < one.ranks[worse] and not one.repeat:
                pair = {"chosen": better, "rejected": worse}
                texts = {name: item.completions[place] for name, place in pair.items()}
                answers = {name: [_assistant(text)] for name, text in texts.items()}
                yield {"prompt": item.prompt, **answers, "labeler": one.labeler}


def _assistant(text: str) -> Row:
    return {"role": "assistant", "content": text}


_WRITERS: dict[str, Callable[[Said], Iterator[Row]]] = {
    "rankings": _rankings,
    "trl": _trl,
    "argilla": argilla_rows,
    "labelstudio": labelstudio_rows,
}


# Reading


def _rows(path: Path) -> list[Any]:
    """Of a JSON list, of one under `items` as Argilla's API gives it, or of lines of JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: neither a JSON list nor lines of JSON ({error})") from error
    if len(rows) == 1 and isinstance(rows[0], dict) and isinstance(rows[0].get("items"), list):
        return list(rows[0]["items"])
    return rows


def _read(path: Path, row: Any) -> list[Imported]:
    """The judgements of one row, whatever its form."""
    if not isinstance(row, dict):
        raise Unusable("no JSON object")
    if "annotations" in row:
        return read_labelstudio(row)
    if "ranking" in row or ("fields" in row and "responses" in row):
        return read_argilla(row)
    if row.get("repeat"):
        raise Unusable("a second look")
    ranking: Ranking = CONVERT["rankings"](schema_of(path.name, "rankings", row)(row))
    item = Item("import", ranking.prompt, ranking.completions, ranking.finished)
    return [(item, ranking.labeler, ranking.ranks)]


def _checked(item: Item, name: str, ranks: list[int]) -> Imported:
    """With a labeler's name and ranks as they are stored."""
    require_texts(item)
    if len(ranks) != len(item.completions) or not all(type(rank) is int for rank in ranks):
        raise Unusable("not a whole rank per completion")
    places = [1 + sum(other < rank for other in ranks) for rank in ranks]
    known = re.sub(r"[^\w .@+-]+", "_", name.strip()).lstrip(" .@+-")[:40] or "data"
    return item, require_name(known), places
