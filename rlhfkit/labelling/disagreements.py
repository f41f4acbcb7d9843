"""Where people and the run's other labelers disagree, from the rankings that stage label wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from rich.table import Table
from rich.text import Text

from rlhfkit.console import console, text_table
from rlhfkit.data.artifacts import stored_rankings
from rlhfkit.errors import UserError
from rlhfkit.storage.catalogue import RANKINGS_FILE
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.types import Ranking

SHOWN = 10
"""Prompts in the table, those with the largest differences first."""


@dataclass(frozen=True)
class Compared:
    """One prompt that people and others ranked."""

    ranking: Ranking
    """A person's."""

    others: list[Ranking]
    same: int
    """Pairs, over all others, in the person's order."""

    pairs: int
    """Pairs that neither ties."""

    @property
    def share(self) -> float:
        """Of the pairs in the same order; all of them where there is none to tell by."""
        return self.same / self.pairs if self.pairs else 1.0


def compare(rankings: Sequence[Ranking], people: set[str]) -> list[Compared]:
    """Each person's ranking beside those of other labelers of the same completions, the most
    different first."""
    by_item: dict[str, list[Ranking]] = {}
    for one in rankings:
        by_item.setdefault(repr((one.prompt, one.completions)), []).append(one)
    found = []
    for group in by_item.values():
        others = [one for one in group if one.labeler not in people]
        if others:
            own = (one for one in group if one.labeler in people)
            found += [Compared(one, others, *_alike(one, others)) for one in own]
    return sorted(found, key=lambda one: one.share)


def show_disagreements(run: RunDir, people: set[str]) -> None:
    """Print with whom people agree how far, and the prompts where they differ most."""
    path = run.stage_dir("label") / RANKINGS_FILE
    if not path.exists():
        raise UserError(
            f"{path}: not there; let the stage label run with labeler=people "
            f"labeler.with_simulated=true"
        )
    found = compare(stored_rankings(path), people)
    if not found:
        raise UserError(f"{path}: no prompt that both people and other labelers ranked")
    console.print(_by_labeler(found))
    console.print(_by_prompt(found[:SHOWN]))


def _alike(one: Ranking, others: Sequence[Ranking]) -> tuple[int, int]:
    """Pairs in the same order, of those that neither ties."""
    same = pairs = 0
    for other in others:
        for first, second in combinations(range(len(one.ranks)), 2):
            product = (one.ranks[first] - one.ranks[second]) * (
                other.ranks[first] - other.ranks[second]
            )
            pairs += product != 0
            same += product > 0
    return same, pairs


def _by_labeler(found: Sequence[Compared]) -> Table:
    table = text_table("labeler", "pairs in the same order", "pairs", title="People and the others")
    names = sorted({other.labeler for one in found for other in one.others})
    for name in names:
        counts = [
            _alike(one.ranking, [other for other in one.others if other.labeler == name])
            for one in found
        ]
        same, pairs = (sum(each) for each in zip(*counts, strict=True))
        table.add_row(name, f"{same / pairs:.0%}" if pairs else "-", str(pairs))
    return table


def _by_prompt(found: Sequence[Compared]) -> Table:
    head = ("prompt", "people's best", "the others' best", "same order")
    table = text_table(*head, title="Where they differ most")
    table.show_lines = True
    for one in found:
        others = [sum(ranks) for ranks in zip(*(other.ranks for other in one.others), strict=True)]
        table.add_row(
            Text(str(one.ranking.prompt[-1]["content"])[:120]),
            Text(_best(one.ranking, one.ranking.ranks)),
            Text(_best(one.ranking, others)),
            f"{one.same} of {one.pairs}",
        )
    return table


def _best(ranking: Ranking, ranks: Sequence[int]) -> str:
    return ranking.completions[ranks.index(min(ranks))][:160]
