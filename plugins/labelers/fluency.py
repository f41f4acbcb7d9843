"""How far a text reads like English, by an n-gram model of letters that no run trains."""

import json
import math
import re
from collections import Counter
from collections.abc import Collection
from functools import cache
from importlib.resources import files

_WORD = re.compile(r"[^\W_]+")

_ORDER = 4
"""Letters of the longest n-gram."""

_NATS = (3.4, 2.6)
"""Mean surprise of a letter at which a text is not fluent at all, and fully."""

_LETTERS = 30
"""How many letters there are, roughly: an unseen one has this share of nothing."""


def fluency(text: str, known: Collection[str] = ()) -> float:
    """From 0 for what is no English to 1 for plain English, by the mean surprise of its letters.

    known: words in small letters that surprise nobody, as those of the prompt; they are left out.
    """
    words = _WORD.findall(text.lower())
    letters = _plain(" ".join(word for word in words if word not in known))
    if not letters.strip():
        return float(bool(words))
    counts = _counts()
    surprise = -sum(
        math.log(_probability(counts, letters[:place], letters[place]))
        for place in range(1, len(letters))
    ) / (len(letters) - 1)
    worst, best = _NATS
    return min(1.0, max(0.0, (worst - surprise) / (worst - best)))


def _probability(counts: Counter[str], before: str, letter: str) -> float:
    """Interpolated from shorter contexts to longer ones (Witten and Bell 1991)."""
    probability = 1 / _LETTERS
    for length in range(min(_ORDER, len(before) + 1)):
        context = before[len(before) - length :]
        seen, kinds = counts[context + "\t"], counts[context + "\n"]
        if not seen:
            break
        probability = (counts[context + letter] + kinds * probability) / (seen + kinds)
    return probability


@cache
def _counts() -> Counter[str]:
    """How often each n-gram occurs in the quickstart's pretraining texts; after a context, a tab
    counts the letters that followed, a line break their kinds."""
    texts = (files("rlhfkit_plugins.quickstart") / "data" / "pretraining.jsonl").read_text("utf-8")
    counts: Counter[str] = Counter()
    for line in texts.splitlines():
        letters = _plain(json.loads(line)["text"])
        for length in range(_ORDER):
            for place in range(length, len(letters)):
                context, letter = letters[place - length : place], letters[place]
                counts[context + "\n"] += counts[context + letter] == 0
                counts[context + letter] += 1
                counts[context + "\t"] += 1
    return counts


def _plain(text: str) -> str:
    """Small letters between single spaces; a digit is a 0, and marks are left out."""
    return f" {' '.join(_WORD.findall(re.sub('[0-9]', '0', text.lower())))} "
