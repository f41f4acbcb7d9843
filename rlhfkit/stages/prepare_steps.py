"""The steps of the stage prepare, each from rows to rows (InstructGPT, sections 3.2 and A).

A row is a dictionary as it stands in the prepared files: `prompt` as messages, the columns of its
kind, and `user`, `source` and `instruction` where the data has them.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlhfkit.data.prepared import PARTS, TEST, TRAIN, VALIDATION
from rlhfkit.data.split_keys import position, prompt_key, user_of
from rlhfkit.errors import UserError, nearest

Row = dict[str, Any]
Rows = list[Row]


def completions_of(row: Row) -> list[str]:
    """The answers that a row holds: of a demonstration one, of a ranking K, of a prompt none."""
    return [row["completion"]] if "completion" in row else list(row.get("completions", []))


def deduplicated(rows: Rows, length: int) -> Rows:
    """The first prompt of those that begin with the same `length` characters; shorter ones must be
    equal. Rankings of the very prompt that is kept stay: several labelers may rank it."""
    first: dict[str, str] = {}
    kept = []
    for row in rows:
        _, text = prompt_key(row["prompt"])
        new = text[:length] not in first
        if first.setdefault(text[:length], text) == text and (new or "ranks" in row):
            kept.append(row)
    return kept


def capped(rows: Rows, limit: int) -> Rows:
    """The first `limit` rows of every user; rows without user stay."""
    seen = Counter[str]()
    kept = []
    for row in rows:
        user = user_of(row)
        if user is not None:
            seen[user] += 1
        if user is None or seen[user] <= limit:
            kept.append(row)
    return kept


def split_by_user(
    rows: Mapping[str, Rows], validation: float, test: float
) -> dict[str, dict[str, Rows]]:
    """Rows of every kind, by part. All rows of a user are in one part, in every kind; a prompt that
    several users wrote stays with the one held out furthest: test, then validation."""
    parts = {part: {kind: Rows() for kind in rows} for part in PARTS}
    for kind, items in rows.items():
        for row in items:
            place = position(row, row["prompt"])
            part = TEST if place < test else VALIDATION if place < test + validation else TRAIN
            parts[part][kind].append(row)
    taken = set()
    for part in (TEST, VALIDATION, TRAIN):
        for kind, items in parts[part].items():
            parts[part][kind] = [row for row in items if prompt_key(row["prompt"]) not in taken]
        taken |= {prompt_key(row["prompt"]) for items in parts[part].values() for row in items}
    return parts


def without_pii(rows: Rows, kinds: Sequence[str]) -> Rows:
    """Rows whose prompt and answers hold no personal data of these kinds."""
    find = pii_finder(kinds)
    return [
        row
        for row in rows
        if not any(map(find, [*(turn["content"] for turn in row["prompt"]), *completions_of(row)]))
    ]


def pii_finder(kinds: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text holds personal data, by DataFog's patterns: nothing leaves the machine.

    Raises `UserError` when DataFog is not installed and for a kind that it does not know.
    """
    try:
        import datafog
    except ImportError as error:
        raise UserError(
            "stage.prepare.pii needs the library datafog: pip install 'rlhfkit[pii]'"
        ) from error
    for kind in kinds:
        known = datafog.get_supported_entities()
        if kind not in known:
            raise UserError(f"stage.prepare.pii={list(kinds)}: {nearest(kind, known)}")
    wanted = list(kinds)
    return lambda text: bool(datafog.scan(text, engine="regex", entity_types=wanted).entities)


def mixed(rows: Rows, shares: Mapping[str, float], seed: int) -> Rows:
    """As many rows as can be had with these shares of each `source`, in their order.

    Raises `UserError` when a source is wanted that no row has.
    """
    having: dict[Any, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        having[row.get("source")].append(index)
    wanted = {source: share for source, share in shares.items() if share > 0}
    for source in wanted:
        if source not in having:
            near = nearest(source, map(str, having))
            raise UserError(f"stage.prepare.labeler_share: no row of source '{source}'; {near}")
    total = min(len(having[source]) / share for source, share in wanted.items())
    draw = random.Random(seed)
    kept = {
        index
        for source, share in wanted.items()
        for index in draw.sample(having[source], int(total * share + 1e-9))
    }
    return [row for index, row in enumerate(rows) if index in kept]


def with_examples(rows: Rows, count: int, fits: Callable[[Row], bool]) -> Rows:
    """Demonstrations of an `instruction` as few-shot prompts: the instruction, up to `count` other
    demonstrations of it, then their own query. Examples that do not fit are left out.

    "With K query-response pairs, we create K training examples using the other K-1 in the context"
    (section A.1).
    """
    groups: dict[str, Rows] = defaultdict(list)
    for row in rows:
        groups[row.get("instruction", "")].append(row)
    return [_with_examples(row, groups[row.get("instruction", "")], count, fits) for row in rows]


def _with_examples(row: Row, group: Rows, count: int, fits: Callable[[Row], bool]) -> Row:
    if not is_few_shot(row):
        return row
    shown = [
        f"{_query(other)}\n{other['completion']}"
        for other in group
        if other is not row and is_few_shot(other)
    ]
    made = row
    for examples in range(min(count, len(shown)), -1, -1):
        content = "\n\n".join([row["instruction"], *shown[:examples], _query(row)])
        made = row | {"prompt": [{"role": "user", "content": content}]}
        if fits(made):
            break
    return made


def is_few_shot(row: Row) -> bool:
    """Whether a demonstration is a query of an instruction, in one message."""
    return bool(row.get("instruction")) and len(row["prompt"]) == 1


def _query(row: Row) -> str:
    content: str = row["prompt"][0]["content"]
    return content
