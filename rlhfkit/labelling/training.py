"""What people said as rankings that a reward model trains on."""

import hashlib
import json
from contextlib import closing
from pathlib import Path

from rlhfkit.labelling.records import StoredJudgement
from rlhfkit.labelling.store import Store
from rlhfkit.types import Ranking


def rankings_of(path: Path) -> list[Ranking]:
    """All rankings of sampled and imported completions that stand; of an item that a labeler was
    asked twice the first. None where there is no such file."""
    if not path.exists():
        return []
    with closing(Store(path)) as store:
        items, judged = store.items(), store.judged()
    return [
        Ranking(item.prompt, item.completions, one.ranks, item.finished, one.labeler)
        for one in judged
        if _trains(one)
        for item in [items[one.item]]
    ]


def fingerprint(path: Path) -> str:
    """A digest that changes when the rankings would."""
    if not path.exists():
        return ""
    with closing(Store(path)) as store:
        said = [(one.item, one.labeler, one.ranks) for one in store.judged() if _trains(one)]
    return hashlib.sha256(json.dumps(sorted(said)).encode()).hexdigest()[:16]


def _trains(one: StoredJudgement) -> bool:
    return bool(one.ranks) and not one.repeat and one.source != "evaluate"
