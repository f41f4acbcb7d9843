"""The pool of simulated labelers: programs with tastes, no people. docs/labelers.md has the table.

All five share `CORE`: finished sentences over cut-off ones, on topic, no repetition, no parroting,
rather short. Each adds a taste of its own, so that they disagree as often as people do.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

CORE: Mapping[str, float] = {
    "complete": 1.5,
    "relevance": 1.5,
    "repetition": -1.5,
    "echo": -2.0,
    "directness": 0.5,
    "length": 1.0,
}
"""Points for each feature of `features.py` at its value 1; `length` is `length_fit`."""

RUBRIC: Mapping[str, float] = {
    "rubric_contains": 2.0,
    "rubric_avoids": 2.0,
    "rubric_form": 4.0,
    "rubric_length": 2.0,
    "fluency": 1.5,
}
"""Points by the rubric that comes with a prompt, of whoever judges. It takes the place of
`relevance`, for it says what belongs in an answer, and has a say in `length`."""

FEWEST_WORDS = 4
"""Anything shorter is no answer."""


@dataclass(frozen=True)
class SimulatedLabeler:
    """One simulated labeler: a weighted sum of features, and a share of mistakes."""

    name: str
    description: str

    ideal_words: tuple[int, int]
    """Fewest and most words of an answer of the right length."""

    taste: Mapping[str, float]
    """Points by feature that replace those of `CORE`, or add to them."""

    tie_margin: float = 0.1
    """Scores this close, in points, are a tie."""

    error_rate: float = 0.1
    """Share of typical pairs it puts in the wrong order; see `SimulatedLabelers`."""

    @property
    def worst(self) -> float:
        """Fewest points that a text with words can get."""
        weights = {**CORE, **self.taste}
        return sum(min(weight, 0.0) for weight in weights.values()) - weights["length"]

    def score(self, features: Mapping[str, float]) -> float:
        """Points for a completion with these features, higher is better, before any mistake."""
        if not features["words"]:
            return -math.inf
        weights = {**CORE, **self.taste}
        values = {**features, "length": self.length_fit(features["words"])}
        if "rubric_length" in features:
            weights |= RUBRIC
            values |= {"relevance": 0.0, "length": features["rubric_length"]}
        return sum(weight * values[name] for name, weight in weights.items())

    def length_fit(self, words: float) -> float:
        """1 within the ideal range, falling to 0 below it, slowly above it (1/2 at twice its end);
        -1 for fewer than `FEWEST_WORDS`."""
        fewest, most = self.ideal_words
        if words < FEWEST_WORDS:
            return -1.0
        return min(1.0, words / fewest, most / words)


POOL: Mapping[str, SimulatedLabeler] = {
    labeler.name: labeler
    for labeler in (
        SimulatedLabeler(
            "simulated-concise",
            "Wants one short, direct sentence; dislikes lists.",
            ideal_words=(6, 14),
            taste={"length": 2.5, "directness": 0.8, "listing": -0.8},
            error_rate=0.10,
        ),
        SimulatedLabeler(
            "simulated-complete",
            "Wants a full answer that is finished; likes names, numbers and lists.",
            ideal_words=(15, 35),
            taste={"complete": 2.0, "length": 1.5, "concreteness": 0.6, "listing": 0.4},
            error_rate=0.08,
        ),
        SimulatedLabeler(
            "simulated-relevant",
            "Wants the words of the task taken up, whatever the length.",
            ideal_words=(8, 30),
            taste={"relevance": 3.0, "length": 0.6},
            error_rate=0.10,
        ),
        SimulatedLabeler(
            "simulated-warm",
            "Wants a friendly tone and does not mind a polite opening.",
            ideal_words=(8, 25),
            taste={"courtesy": 1.2, "directness": 0.0},
            error_rate=0.15,
        ),
        SimulatedLabeler(
            "simulated-careful",
            "Wants clean work, finished, nothing repeated; calls close ones a tie.",
            ideal_words=(8, 22),
            taste={"complete": 2.0, "repetition": -2.5},
            tie_margin=0.25,
            error_rate=0.05,
        ),
    )
}
