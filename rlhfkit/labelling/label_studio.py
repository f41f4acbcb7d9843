"""Tasks of the tag Ranker as Label Studio imports and exports them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rlhfkit.data.messages import Unusable
from rlhfkit.labelling.foreign import Imported, Row, Said, as_text, by_item, imported_item
from rlhfkit.labelling.records import StoredJudgement


def labelstudio_rows(said: Said) -> Iterator[Row]:
    """A task per item for the tag Ranker with a Bucket per rank, the one way it has for ties."""
    for number, (item, all_of) in enumerate(by_item(said), start=1):
        listed = [
            {"id": str(place), "title": f"Answer {place}", "body": text}
            for place, text in enumerate(item.completions, start=1)
        ]
        data = {"prompt": as_text(item.prompt), "messages": item.prompt, "items": listed}
        yield {"id": number, "data": data, "annotations": [_annotation(one) for one in all_of]}


_LABELLING = """<View>
  <Text name="prompt" value="$prompt"/>
  <List name="items" value="$items" title="Answers"/>
  <Ranker name="rank" toName="items">
{buckets}
  </Ranker>
  <TextArea name="labeler" toName="prompt" maxSubmissions="1" rows="1"/>
</View>
"""
"""The labelling configuration of the project that the tasks are imported into."""


def labelstudio_config(count: int) -> str:
    """Of a project for at most so many completions."""
    lines = (
        f'    <Bucket name="rank_{rank}" title="Rank {rank}"/>' for rank in range(1, count + 1)
    )
    return _LABELLING.format(buckets="\n".join(lines))


def _annotation(one: StoredJudgement) -> Row:
    """Who said it stands in a text area: as `completed_by` Label Studio refuses whom it does not
    know."""
    buckets: dict[str, list[str]] = {f"rank_{rank}": [] for rank in range(1, len(one.ranks) + 1)}
    for place, rank in enumerate(one.ranks, start=1):
        buckets[f"rank_{rank}"].append(str(place))
    ranking: Row = {"from_name": "rank", "to_name": "items", "type": "ranker"}
    labeler: Row = {"from_name": "labeler", "to_name": "prompt", "type": "textarea"}
    result = [
        {**ranking, "value": {"ranker": buckets}},
        {**labeler, "value": {"text": [one.labeler]}},
    ]
    return {"lead_time": one.seconds, "result": result}


def read_labelstudio(row: Row) -> list[Imported]:
    """The judgements of one task, without annotations that were cancelled."""
    listed = row["data"]["items"]
    ids = [str(one["id"]) for one in listed]
    texts = [one["body"] for one in listed]
    item = imported_item(row["data"].get("messages"), row["data"]["prompt"], texts)
    found = []
    for annotation in row["annotations"]:
        if not annotation.get("was_cancelled"):
            results = [one for one in annotation["result"] if one["type"] == "ranker"]
            name = _labeler(annotation)
            found += [(item, name, _bucket_ranks(one["value"]["ranker"], ids)) for one in results]
    return found


def _labeler(annotation: Row) -> str:
    """By name where the text area has one, else the program's user."""
    for one in annotation["result"]:
        if one.get("from_name") == "labeler" and one["value"]["text"]:
            return str(one["value"]["text"][0])
    who = annotation.get("completed_by", "label studio")
    return str(who.get("email") or who["id"]) if isinstance(who, dict) else str(who)


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
