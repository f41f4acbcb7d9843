"""A reward's scores of ranked completions: which pairs it orders as the labelers did."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from rlhfkit.types import Judgement, Messages, Metric, Ranking

Score = Callable[[list[Messages], list[str], list[bool]], list[float]]
"""Prompts, completions and whether each ended to a number each."""


@dataclass(frozen=True)
class Pair:
    """Two completions of a prompt that a labeler did not tie."""

    item: str
    """The prompt, as text."""

    labeler: str

    preferred_is_longer: bool | None
    """In characters; None for equal lengths."""

    gap: float
    """Score of the preferred completion less the other's."""

    category: str = ""

    @property
    def right(self) -> float:
        """1 where the preferred one has the higher score, one half for equal scores."""
        return 0.5 if self.gap == 0 else float(self.gap > 0)

    @property
    def confidence(self) -> float:
        """Probability of the higher score's being preferred, by the Bradley-Terry model."""
        return 1 / (1 + math.exp(-min(abs(self.gap), 700.0)))


def scored_pairs(
    rankings: Sequence[Ranking], categories: Sequence[str], score: Score
) -> list[Pair]:
    """All pairs of all rankings that have an order; each completion is scored once."""
    asked = {
        (repr(ranking.prompt), text, ended): ranking.prompt
        for ranking in rankings
        for text, ended in zip(ranking.completions, ranking.finished, strict=True)
    }
    found = score([*asked.values()], [text for _, text, _ in asked], [ended for *_, ended in asked])
    scores = dict(zip(asked, found, strict=True))
    return [
        pair
        for ranking, category in zip(rankings, categories, strict=True)
        for pair in _pairs(ranking, category, scores)
    ]


def _pairs(ranking: Ranking, category: str, scores: dict[Any, float]) -> list[Pair]:
    item = repr(ranking.prompt)
    found = []
    for one, two in combinations(range(len(ranking.ranks)), 2):
        if ranking.ranks[one] == ranking.ranks[two]:
            continue
        best, other = (one, two) if ranking.ranks[one] < ranking.ranks[two] else (two, one)
        texts = ranking.completions[best], ranking.completions[other]
        gap = (
            scores[item, texts[0], ranking.finished[best]]
            - scores[item, texts[1], ranking.finished[other]]
        )
        lengths = len(texts[0]), len(texts[1])
        longer = None if lengths[0] == lengths[1] else lengths[0] > lengths[1]
        found.append(Pair(item, ranking.labeler, longer, gap, category))
    return found


def reliability(pairs: Sequence[Pair], bins: int) -> list[dict[str, float]]:
    """For each bin of confidence from one half to 1 how many pairs it has, the mean confidence and
    the share that is right; empty ones are left out (Guo et al. 2017)."""
    table = []
    for place in range(bins):
        low, high = 0.5 + place / (2 * bins), 0.5 + (place + 1) / (2 * bins)
        own = [p for p in pairs if min(int((p.confidence - 0.5) * 2 * bins), bins - 1) == place]
        if own:
            confidence, right = fmean(p.confidence for p in own), fmean(p.right for p in own)
            row = {"from": low, "to": high, "confidence": confidence, "right": right}
            table.append({**row, "pairs": float(len(own))})
    return table


def calibration_error(
    pairs: Sequence[Pair], bins: int, level: float, resamples: int, seed: int
) -> Metric:
    """Mean distance of confidence from the share that is right, over bins weighted by their pairs,
    with its percentile bootstrap interval over prompts. It is never negative, so that few pairs
    make it look worse than it is."""
    items = {item: place for place, item in enumerate(dict.fromkeys(pair.item for pair in pairs))}
    place = np.array([items[pair.item] for pair in pairs])
    excess = np.array([pair.confidence - pair.right for pair in pairs])
    each = np.array([min(int((p.confidence - 0.5) * 2 * bins), bins - 1) for p in pairs])

    def error(counts: Any) -> float:
        weights = counts[place]
        sums = np.bincount(each, weights * excess, bins)
        return float(np.abs(sums).sum() / weights.sum())

    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(items), [1 / len(items)] * len(items), resamples)
    tail = (1 - level) / 2
    low, high = np.quantile([error(counts) for counts in drawn], (tail, 1 - tail))
    value = error(np.ones(len(items)))
    return Metric(value, min(float(low), value), max(float(high), value), len(items), level)


def agreement(judged: Sequence[Sequence[Judgement]]) -> list[float]:
    """For each prompt with several judgements the share of pairs that two labelers order alike, of
    those that neither ties: no reward can do better on average."""
    shares = []
    for judgements in judged:
        same = [
            (one.ranks[first] < one.ranks[second]) == (two.ranks[first] < two.ranks[second])
            for one, two in combinations(judgements, 2)
            for first, second in combinations(range(len(one.ranks)), 2)
            if one.ranks[first] != one.ranks[second] and two.ranks[first] != two.ranks[second]
        ]
        if same:
            shares.append(fmean(same))
    return shares
