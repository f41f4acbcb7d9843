"""What is ranked: the sampled completions of a run, or two policies' answers of its evaluation."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from rlhfkit.errors import UserError
from rlhfkit.storage.catalogue import COMPLETIONS_FILE, SAMPLES_FILE
from rlhfkit.storage.run_dir import RunDir, as_written, read_jsonl
from rlhfkit.types import Messages

Source = Literal["sample", "evaluate", "import"]
"""Where an item is from; people's rankings of `sample` and `import` train the reward model."""

MOST_COMPLETIONS = 26
"""Answers are called by letters."""


@dataclass(frozen=True)
class Item:
    """A prompt and the completions that are ranked together."""

    source: Source
    prompt: Messages
    completions: list[str]
    finished: list[bool]

    policies: list[str] = field(default_factory=list)
    """Who wrote them. Labelers never see it."""

    @property
    def id(self) -> str:
        """A digest: the same texts are the same item, whenever they were drawn or imported. Two
        policies that are evaluated are always another item."""
        compared = self.policies if self.source == "evaluate" else None
        content = json.dumps([self.prompt, self.completions, compared], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def items_of(run: RunDir, of: Source, kind: str) -> list[Item]:
    """The items of a run in order. `UserError` when the stage that writes them has not run.

    kind: with "pairs", every pair of a prompt's sampled completions is an item.
    """
    items = _evaluated(run) if of == "evaluate" else _sampled(run)
    if of == "sample" and kind == "pairs":
        items = [pair for item in items for pair in _pairs(item)]
    unlike = (item for item in items if len(set(item.completions)) > 1)
    return list({item.id: item for item in unlike}.values())


def _sampled(run: RunDir) -> list[Item]:
    path = _written(run, "sample", COMPLETIONS_FILE)
    return list(_checked(path, map(_completions, read_jsonl(path))))


def _completions(row: Mapping[str, Any]) -> Item:
    return Item("sample", row["prompt"], row["completions"], row["finished"], row["sources"])


def _evaluated(run: RunDir) -> list[Item]:
    """Each policy's answer beside the SFT model's to the same prompt."""
    path = _written(run, "evaluate", SAMPLES_FILE)
    by_policy: dict[str, list[dict[str, Any]]] = {}
    with as_written(path):
        for row in read_jsonl(path):
            by_policy.setdefault(row["policy"], []).append(row)
        duels = [
            duel
            for policy, rows in by_policy.items()
            if policy != "sft"
            for duel in zip(rows, by_policy["sft"], strict=True)
        ]
        return list(_checked(path, (_duel(*duel) for duel in duels)))


def _duel(own: Mapping[str, Any], sft: Mapping[str, Any]) -> Item:
    both = (own, sft)
    return Item(
        "evaluate",
        own["prompt"],
        [row["completion"] for row in both],
        [row["finished"] for row in both],
        [row["policy"] for row in both],
    )


def _pairs(item: Item) -> Iterator[Item]:
    for places in combinations(range(len(item.completions)), 2):
        yield replace(
            item,
            completions=[item.completions[place] for place in places],
            finished=[item.finished[place] for place in places],
            policies=[item.policies[place] for place in places],
        )


def _written(run: RunDir, stage: str, name: str) -> Path:
    path = run.stage_dir(stage) / name
    if not path.exists():
        raise UserError(
            f"{path}: not there; let the stage {stage} of this run write it, as in "
            f"rlhfkit recipe=quickstart run_name={run.root.name} stages=[sft,{stage}]"
        )
    return path


def _checked(path: Path, items: Iterable[Item]) -> Iterator[Item]:
    with as_written(path):
        for item in items:
            require_texts(item)
            yield item


def require_texts(item: Item) -> None:
    """Raise `ValueError` for an item that cannot be shown and ranked."""
    count = len(item.completions)
    if not 2 <= count <= MOST_COMPLETIONS:
        raise ValueError(f"{count} completions; from 2 to {MOST_COMPLETIONS} can be ranked")
    if len(item.finished) != count or len(item.policies) not in (0, count):
        raise ValueError("not one flag and policy per completion")
    texts = [*item.completions, *(message["content"] for message in item.prompt)]
    texts += [message["role"] for message in item.prompt]
    if not item.prompt or not all(isinstance(text, str) for text in texts):
        raise ValueError("a prompt or completion is no text")
    for text in texts:
        text.encode()  # half a surrogate pair is no text
