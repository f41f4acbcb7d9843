"""What simulated labelers notice: pure functions of a prompt and a completion.

Every feature lies in [0, 1] except `words`, which is a count. All are crude on purpose, and for
English only.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

Feature = Callable[[str, str], float]
"""(prompt, completion) -> number."""

_FUNCTION_WORDS = """
a about all also am an and any are as at be been but by can could did do does for from get had has
have he her him his how i if in into is it its just like may me more most my no not of on one or our
out please she should so some than that the their them there these they this to two up us was we
were what when where which who why will with would you your
"""
_TASK_WORDS = """
answer briefly describe explain fix give idea ideas list make message name names note paragraph poem
question rewrite sentence sentences short story suggest summarize summary tell text think turn ways
word words write
"""
_STOP_WORDS = frozenset((_FUNCTION_WORDS + _TASK_WORDS).split())
"""Words of a prompt that a good answer need not contain."""

_ENDINGS = re.compile(r"(ing|ied|ies|ed|es|ly|e|s|y)$")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?:\s+|$)")
_COMPLETE = re.compile(r"[.!?][\"'”’)\]]*\s*$")
_FRIENDLY = re.compile(
    r"\b(thank|please|welcome|glad|happy to|congratulations|enjoy|hope|wish|dear|of course"
    r"|sorry (?:to|you)|good luck|take care)",
    re.IGNORECASE,
)
_THROAT_CLEARING = re.compile(
    r"^\W*(?:sure|certainly|of course|absolutely|okay|ok|great question|here(?:'s| is| are))\b"
    r"|\bas an? (?:ai|language|virtual)\b|\bi(?:'m| am) (?:sorry,? but|unable|not able)\b",
    re.IGNORECASE,
)
_LIST_MARKER = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
_CONCRETE = re.compile(r"\d+|(?<=[a-z,;:] )[A-Z][a-z]+")


def words(prompt: str, completion: str) -> float:
    """How many words the completion has."""
    return len(tokens(completion))


def complete(prompt: str, completion: str) -> float:
    """1 when the completion ends with a sentence's end, perhaps in quotes; 0 when it is cut off."""
    return float(bool(_COMPLETE.search(completion)))


def repetition(prompt: str, completion: str) -> float:
    """Share of word triples, or of sentences, that occurred before; the greater of the two."""
    sentences = [tuple(tokens(sentence)) for sentence in _SENTENCE_END.split(completion)]
    return max(_repeated(_triples(tokens(completion))), _repeated([*filter(None, sentences)]))


def relevance(prompt: str, completion: str) -> float:
    """Share of the prompt's content words that occur in the completion; 1 when it has none."""
    asked = {stem(word) for word in tokens(prompt) if word not in _STOP_WORDS}
    answered = {stem(word) for word in tokens(completion)}
    return len(asked & answered) / len(asked) if asked else 1.0


def echo(prompt: str, completion: str) -> float:
    """Share of the prompt's word triples that the completion repeats; 1 for a parrot."""
    asked = set(_triples(tokens(prompt)))
    return len(asked & set(_triples(tokens(completion)))) / len(asked) if asked else 0.0


def courtesy(prompt: str, completion: str) -> float:
    """Friendly phrases: 0, 0.5 for one, 1 for more."""
    return min(1.0, len(_FRIENDLY.findall(completion)) / 2)


def directness(prompt: str, completion: str) -> float:
    """0 when it clears its throat ("Sure!", "As an AI", "I am sorry, but"), else 1."""
    return float(not _THROAT_CLEARING.search(completion))


def listing(prompt: str, completion: str) -> float:
    """Share of its lines that are list items."""
    lines = [line for line in completion.splitlines() if line.strip()]
    return sum(bool(_LIST_MARKER.match(line)) for line in lines) / len(lines) if lines else 0.0


def concreteness(prompt: str, completion: str) -> float:
    """Numbers, and capitalised names within a sentence: 0, 0.5 for one, 1 for more."""
    return min(1.0, len(_CONCRETE.findall(completion)) / 2)


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        feature.__name__: feature
        for feature in (
            words,
            complete,
            repetition,
            relevance,
            echo,
            courtesy,
            directness,
            listing,
            concreteness,
        )
    }
)


def measure(prompt: str, completion: str) -> dict[str, float]:
    """Every feature by name."""
    return {name: feature(prompt, completion) for name, feature in FEATURES.items()}


def tokens(text: str) -> list[str]:
    """Lower-case words."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def stem(word: str) -> str:
    """A word without its ending, crudely: baking, baked and bakes give `bak`."""
    shorter = _ENDINGS.sub("", word)
    return shorter if len(shorter) >= 3 else word


def _triples(items: Sequence[str]) -> list[tuple[str, ...]]:
    return list(zip(items, items[1:], items[2:], strict=False))


def _repeated(items: Sequence[tuple[str, ...]]) -> float:
    """Share of the items that occurred before."""
    return 1 - len(set(items)) / len(items) if items else 0.0
