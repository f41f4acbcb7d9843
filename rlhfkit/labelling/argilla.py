"""Records of a ranking question as Argilla's client and its API have them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from rlhfkit.data.messages import Unusable
from rlhfkit.labelling.foreign import Imported, Row, Said, as_text, by_item, imported_item
from rlhfkit.labelling.records import to_json


def argilla_rows(said: Said) -> Iterator[Row]:
    """Records as its client reads and writes them, with a response of the ranking question by every
    labeler. Users are UUIDs there and metadata is text: names and turns are beside, as JSON."""
    for item, all_of in by_item(said):
        count = len(item.completions)
        width = len(str(count))  # so that they sort as numbers
        names = [f"response_{place:0{width}}" for place in range(1, count + 1)]
        users = {str(uuid5(NAMESPACE_URL, one.labeler)): one for one in all_of}
        responses = [
            {
                "user_id": user,
                "status": "submitted",
                "value": [
                    {"value": name, "rank": rank}
                    for name, rank in zip(names, one.ranks, strict=True)
                ],
            }
            for user, one in users.items()
        ]
        labelers = {user: one.labeler for user, one in users.items()}
        yield {
            "id": item.id,
            "fields": {
                "prompt": as_text(item.prompt),
                **dict(zip(names, item.completions, strict=True)),
            },
            "metadata": {"messages": to_json(item.prompt), "labelers": to_json(labelers)},
            "suggestions": {},
            "responses": {"ranking": responses},
            "vectors": {},
        }


def read_argilla(row: Row) -> list[Imported]:
    """A record as Argilla's data sets, its client or its API have it."""
    fields = row.get("fields", row)
    responses = _argilla_responses(row)
    submitted = [one for one in responses if one.get("status", "submitted") == "submitted"]
    metadata = row.get("metadata") or {}
    labelers = _json_or(metadata.get("labelers"), {})
    ranked = [(str(one["user_id"]), _argilla_ranks(one["value"])) for one in submitted]
    if not ranked:
        raise Unusable("no submitted response")
    names = [name for name in fields if name in ranked[0][1]]  # in the record's own order
    messages = _json_or(metadata.get("messages"), [])
    item = imported_item(messages, fields["prompt"], [fields[name] for name in names])
    return [
        (item, str(labelers.get(user, user)), _ranks_of(names, ranks)) for user, ranks in ranked
    ]


def _argilla_responses(row: Row) -> list[Row]:
    """With user, status and value: columns of a data set, by question of the client, or the API's
    by user."""
    if "ranking" in row:
        return list(row["ranking"])
    if isinstance(row["responses"], Mapping):
        return list(row["responses"]["ranking"])
    return [
        {**one, "value": one["values"]["ranking"]["value"]}
        for one in row["responses"]
        if "ranking" in (one["values"] or {})
    ]


def _ranks_of(names: Sequence[str], ranks: Mapping[str, int]) -> list[int]:
    if len(ranks) != len(names):
        raise Unusable("ranked options that are no fields of the record")
    return [ranks[name] for name in names]


def _json_or(value: Any, otherwise: Any) -> Any:
    """Metadata of ours, which is JSON in a text; what others have under that name is left alone."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return otherwise
    return found if isinstance(found, type(otherwise)) else otherwise


def _argilla_ranks(value: Any) -> dict[str, int]:
    """By option: of values with ranks, or of two columns. A list of options alone is in the order
    of the question: Argilla's client drops the ranks when it reads from its server."""
    if isinstance(value, dict):
        return dict(zip(value["value"], value["rank"], strict=True))
    if any(isinstance(one, str) or "rank" not in one for one in value):
        raise Unusable("options without ranks, which Argilla's client leaves out: take its API's")
    return {one["value"]: one["rank"] for one in value}
