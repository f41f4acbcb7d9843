"""What people said of the answers of stage evaluate, as the report shows it: win rates over the SFT
model, ratings, flags, and how far the people agree."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from rlhfkit.errors import UserError
from rlhfkit.labelling.agreement import Agreement, measure
from rlhfkit.labelling.invitations import GOLD
from rlhfkit.labelling.items import Item, items_of
from rlhfkit.labelling.judged import Judged
from rlhfkit.labelling.ratings import Rated, Ratings, mean_over_prompts, measure_ratings, numbers
from rlhfkit.labelling.records import StoredJudgement
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Refused
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE, SAMPLES_FILE
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.types import Metric


@dataclass(frozen=True)
class HumanEvaluation(Ratings):
    """One run's. Repeats are for self-agreement alone."""

    win_rates: dict[str, Metric] = field(default_factory=dict)
    """By policy the share that prefers its answer to the SFT model's, a tie as one half."""

    labelers: int = 0
    """Who compared the answers of the win rates."""

    items: int = 0
    """Pairs of answers that were compared."""

    outdated: int = 0
    """Judgements of answers that stage evaluate has made anew since; they count no more."""

    agreement: Agreement | None = None
    """Over all that people ranked in the run; None where no two ranked the same."""


def read_human_evaluation(run: RunDir) -> HumanEvaluation | None:
    """None where nobody was asked anything. `UserError` for a file that cannot be read."""
    path = run.root / JUDGEMENTS_FILE
    if not path.exists():
        return None
    items, judged = read_store(path)
    present = compared_now(run)
    compared = [one for one in judged if compares(one)]
    now = [one for one in compared if one.item in present]
    agreement, rated = agreement_of(judged), ratings(items, now)
    return HumanEvaluation(
        ratings=rated.ratings,
        differences=rated.differences,
        win_rates=win_rates(items, now),
        labelers=len({one.labeler for one in now}),
        items=len({one.item for one in now}),
        outdated=len(compared) - len(now),
        agreement=agreement if agreement.agreement_with_ties else None,
    )


def read_store(path: Path) -> tuple[dict[str, Item], list[StoredJudgement]]:
    """Items by id and the judgements that stand; nothing of a file that is not there."""
    if not path.exists():
        return {}, []
    try:
        with closing(Store(path)) as store:
            return store.items(), store.judged()
    except Refused as error:
        raise UserError(f"{path}: {error.reason}") from error


def compared_now(run: RunDir) -> set[str]:
    """Items of the answers that stage evaluate wrote last."""
    if not (run.stage_dir("evaluate") / SAMPLES_FILE).exists():
        return set()
    return {item.id for item in items_of(run, "evaluate", "pairs")}


def agreement_of(judged: Sequence[StoredJudgement]) -> Agreement:
    """How far people agree in all that they ranked, and with what is known to be right."""
    said = [_compared(one) for one in judged if one.ranks]
    known = {one.item: one.ranks for one in said if one.labeler == GOLD and not one.repeat}
    return measure([one for one in said if one.labeler != GOLD], known)


def win_rates(items: Mapping[str, Item], judged: Sequence[StoredJudgement]) -> dict[str, Metric]:
    """By policy; the independent items are the prompts."""
    shares: dict[str, dict[str, list[float]]] = {}
    for one in filter(compares, judged):
        own, sft = one.ranks
        item = items[one.item]
        by_prompt = shares.setdefault(item.policies[0], {})
        by_prompt.setdefault(repr(item.prompt), []).append(0.5 if own == sft else float(own < sft))
    return {policy: mean_over_prompts(found) for policy, found in shares.items()}


def ratings(items: Mapping[str, Item], judged: Sequence[StoredJudgement]) -> Ratings:
    """Empty where nobody rated."""
    return measure_ratings(
        [
            Rated(policy, items[one.item].prompt, one.labeler, numbers(rating))
            for one in filter(compares, judged)
            if one.ratings
            for policy, rating in zip(items[one.item].policies, one.ratings, strict=True)
        ]
    )


def compares(one: StoredJudgement) -> bool:
    """Whether it compares two policies; skips and second looks do not count."""
    return one.source == "evaluate" and bool(one.ranks) and not one.repeat


def _compared(one: StoredJudgement) -> Judged:
    """As agreement is measured on it."""
    here = one.seconds > 0
    shown, seconds = (one.shown, one.seconds) if here else (None, None)
    return Judged(one.labeler, one.item, one.ranks, shown, seconds, one.repeat)
