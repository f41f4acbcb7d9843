"""From scores to ranks."""

import math
from collections.abc import Sequence


def ranks_of(scores: Sequence[float], tie_margin: float = 0.0) -> list[int]:
    """One rank per score, 1 for the highest; equal ranks are ties, and no rank is left out.

    A score joins the rank above it when it is at most `tie_margin` below that rank's *best* score,
    so a chain of small steps does not tie its two ends. The position of a score never matters.
    Example: [0.9, 1.0, 0.85, 0.0] with a margin of 0.1 gives [1, 1, 2, 3].
    """
    ranks: dict[float, int] = {}
    best, rank = math.inf, 0
    for score in sorted(set(scores), reverse=True):
        if score < best - tie_margin:
            best, rank = score, rank + 1
        ranks[score] = rank
    return [ranks[score] for score in scores]
