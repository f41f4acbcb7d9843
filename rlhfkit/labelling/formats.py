"""Judgements to and from other programs: rows of rankings, TRL's pairs, Argilla, Label Studio."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from rlhfkit.console import console
from rlhfkit.data.messages import Unusable
from rlhfkit.data.row_parsing import CONVERT
from rlhfkit.data.schemas import schema_of
from rlhfkit.errors import UserError
from rlhfkit.labelling.items import Item, require_texts
from rlhfkit.labelling.records import StoredJudgement
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Submission
from rlhfkit.storage.run_dir import write_json, write_jsonl
from rlhfkit.types import Messages, Ranking

Row = dict[str, Any]
Said = list[tuple[Item, StoredJudgement]]
Imported = tuple[Item, str, list[int]]
"""An item, a labeler and ranks."""


def export(store: Store, path: Path, form: str, of: str) -> int:
    """Write the rankings of `sample` (imported ones too) or `evaluate`; gives how many rows."""
    items = store.items()
    said = [
        (items[one.item], one)
        for one in store.judged()
        if one.ranks and (one.source == "evaluate") == (of == "evaluate")
    ]
    rows = list(_WRITERS[form](said))
    try:
        (write_json if form == "labelstudio" else write_jsonl)(path, rows)
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
        raise UserError(f"{path}: no usable ranking in {len(rows)} rows")
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


def _argilla(said: Said) -> Iterator[Row]:
    """A record per item, with a response of the ranking question by every labeler."""
    for item, all_of in _by_item(said):
        names = [f"response_{place}" for place in range(1, len(item.completions) + 1)]
        responses = [
            {
                "user_id": one.labeler,
                "status": "submitted",
                "value": [{"value": name, "rank": rank} for name, rank in _named(names, one)],
            }
            for one in all_of
        ]
        fields = dict(zip(names, item.completions, strict=True))
        metadata = {"messages": item.prompt}
        prompt = _as_text(item.prompt)
        yield {"prompt": prompt, **fields, "ranking": responses, "metadata": metadata}


def _named(names: Sequence[str], one: StoredJudgement) -> Iterator[tuple[str, int]]:
    return zip(names, one.ranks, strict=True)


def _labelstudio(said: Said) -> Iterator[Row]:
    """A task per item for the tag Ranker with a Bucket per rank, the one way it has for ties."""
    for number, (item, all_of) in enumerate(_by_item(said), start=1):
        listed = [
            {"id": str(place), "title": f"Answer {place}", "body": text}
            for place, text in enumerate(item.completions, start=1)
        ]
        data = {"prompt": _as_text(item.prompt), "messages": item.prompt, "items": listed}
        yield {"id": number, "data": data, "annotations": [_annotation(one) for one in all_of]}


def _annotation(one: StoredJudgement) -> Row:
    buckets: dict[str, list[str]] = {f"rank_{rank}": [] for rank in range(1, len(one.ranks) + 1)}
    for place, rank in enumerate(one.ranks, start=1):
        buckets[f"rank_{rank}"].append(str(place))
    result = {"from_name": "rank", "to_name": "items", "type": "ranker"}
    result |= {"value": {"ranker": buckets}}  # type: ignore[dict-item]
    return {"completed_by": one.labeler, "lead_time": one.seconds, "result": [result]}


def _by_item(said: Said) -> list[tuple[Item, list[StoredJudgement]]]:
    """First looks by item."""
    found: dict[str, tuple[Item, list[StoredJudgement]]] = {}
    for item, one in said:
        if not one.repeat:
            found.setdefault(one.item, (item, []))[1].append(one)
    return list(found.values())


def _as_text(prompt: Messages) -> str:
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)


_WRITERS: dict[str, Callable[[Said], Iterator[Row]]] = {
    "rankings": _rankings,
    "trl": _trl,
    "argilla": _argilla,
    "labelstudio": _labelstudio,
}


# Reading


def _rows(path: Path) -> list[Any]:
    """Of a JSON list, or of lines of JSON."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    try:
        if text.lstrip().startswith("["):
            return list(json.loads(text))
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: neither a JSON list nor lines of JSON ({error})") from error


def _read(path: Path, row: Any) -> list[Imported]:
    """The judgements of one row, whatever its form."""
    if not isinstance(row, dict):
        raise Unusable("no JSON object")
    if "annotations" in row:
        return _from_labelstudio(row)
    if "ranking" in row or "ranking" in row.get("responses", {}):
        return _from_argilla(row)
    if row.get("repeat"):
        raise Unusable("a second look")
    ranking: Ranking = CONVERT["rankings"](schema_of(path.name, "rankings", row)(row))
    item = Item("import", ranking.prompt, ranking.completions, ranking.finished)
    return [(item, ranking.labeler, ranking.ranks)]


def _from_argilla(row: Row) -> list[Imported]:
    """A record as Argilla's data sets or its client's `to_dict` have it."""
    fields = row.get("fields", row)
    responses = row["ranking"] if "ranking" in row else row["responses"]["ranking"]
    submitted = [one for one in responses if one.get("status", "submitted") == "submitted"]
    ranked = [(str(one["user_id"]), _argilla_ranks(one["value"])) for one in submitted]
    if not ranked:
        raise Unusable("no submitted response")
    names = sorted(ranked[0][1])
    item = _item(row.get("metadata"), fields["prompt"], [fields[name] for name in names])
    return [(item, user, [ranks[name] for name in names]) for user, ranks in ranked]


def _argilla_ranks(value: Any) -> dict[str, int]:
    """By option: of a list of options in order, of values with ranks, or of two columns."""
    if isinstance(value, dict):
        return dict(zip(value["value"], value["rank"], strict=True))
    if all(isinstance(one, str) for one in value):
        return {name: place for place, name in enumerate(value, start=1)}
    return {one["value"]: one["rank"] for one in value}


def _from_labelstudio(row: Row) -> list[Imported]:
    listed = row["data"]["items"]
    ids = [str(one["id"]) for one in listed]
    item = _item(row["data"], row["data"]["prompt"], [one["body"] for one in listed])
    found = []
    for annotation in row["annotations"]:
        who = annotation.get("completed_by", "label studio")
        name = str(who.get("email") or who["id"]) if isinstance(who, dict) else str(who)
        results = [one for one in annotation["result"] if one["type"] == "ranker"]
        found += [(item, name, _bucket_ranks(one["value"]["ranker"], ids)) for one in results]
    return found


def _bucket_ranks(value: Any, ids: Sequence[str]) -> list[int]:
    """A Ranker without buckets gives one list in order; with buckets each holds equal items, and
    their names end in the rank."""
    lists = value if isinstance(value, dict) else {"": value}
    if len(lists) == 1:
        order = [str(one) for one in next(iter(lists.values()))]
        return [1 + order.index(one) for one in ids]
    ranks: dict[str, int] = {}
    for name, members in lists.items():
        number = re.search(r"\d+$", name)
        if members and number is None:
            raise Unusable("buckets whose names do not end in a rank")
        ranks |= {str(one): int(number.group()) for one in members if number}
    return [ranks[one] for one in ids]


def _item(extra: Any, prompt: Any, completions: list[str]) -> Item:
    messages = (extra or {}).get("messages") or [{"role": "user", "content": prompt}]
    return Item("import", messages, completions, [True] * len(completions))


def _checked(item: Item, name: str, ranks: list[int]) -> Imported:
    """With a labeler's name and ranks as they are stored."""
    require_texts(item)
    if len(ranks) != len(item.completions) or not all(type(rank) is int for rank in ranks):
        raise Unusable("not a whole rank per completion")
    places = [1 + sum(other < rank for other in ranks) for rank in ranks]
    return item, re.sub(r"[^\w .@+-]+", "_", name.strip()).lstrip(" .@+-")[:40] or "data", places
