"""The frontier of reward against KL: the policies that stage rl compared on prompts that it does
not train on, and which of them it kept.

What is trained on rises as long as RL goes on, while what it stands for rises and then falls (Gao
et al. 2022), so the last policy is seldom the best one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.storage.catalogue import FRONTIER_FILE
from rlhfkit.storage.run_dir import RunDir, as_written, read_json, write_json


@dataclass(frozen=True)
class Candidate:
    """The policy after so many iterations: 0 is the one that RL starts from."""

    iteration: int

    scores: list[float]
    """By prompt, the judge's score of its answer."""

    kls: list[float]
    """By prompt, the summed KL of its answer to the reference, by k1, in nats."""

    @property
    def score(self) -> float:
        """Mean over the prompts."""
        return fmean(self.scores)

    @property
    def kl(self) -> float:
        """Mean over the prompts."""
        return fmean(self.kls)

    @property
    def described(self) -> str:
        """Score and KL in words; the start's KL, which is rounding of either sign, as 0.0."""
        return f"{self.score:.3g} at {round(self.kl, 1) + 0:.1f} nats"

    def beats(self, kept: "Candidate") -> bool:
        """Whether this one replaces the one kept so far: it scores higher by more than a standard
        error of the difference, prompt by prompt, or no lower at less KL.

        Answers of the same prompts are compared, so the prompts' own differences cancel; the margin
        is the one-standard-error rule (Breiman et al. 1984), which keeps the simpler model, here
        the one with less KL, where the data cannot tell.
        """
        gains = [mine - its for mine, its in zip(self.scores, kept.scores, strict=True)]
        gain = fmean(gains)
        return gain > stdev(gains) / sqrt(len(gains)) or (gain >= 0 and self.kl < kept.kl)


@dataclass(frozen=True)
class Frontier:
    """All candidates of a run, in the order in which they were made."""

    judge: str
    """What scored them: a reward's name, or `objective`."""

    iterations: int
    """How many the run has."""

    candidates: Sequence[Candidate]

    @property
    def kept(self) -> Candidate:
        """The candidate that no later one beats."""
        kept, *others = self.candidates
        for candidate in others:
            kept = candidate if candidate.beats(kept) else kept
        return kept

    def sentence(self) -> str:
        """Which policy is kept, and why, in words."""
        kept = self.kept
        prompts = count_of(len(kept.scores), "prompt")
        said = f"{self._name(kept)} is kept: {self._numbers(kept)} on {prompts}"
        return f"{said}; {self._others(kept)}"

    def _others(self, kept: Candidate) -> str:
        later = [item for item in self.candidates if item.iteration > kept.iteration]
        if not later:
            return "those before it score lower"
        best = max(later, key=lambda item: item.score)
        costs = " at more KL" if all(item.kl > kept.kl for item in later) else ""
        if best.score > kept.score:
            name = self._name(best).lower()
            return f"{name} scores {self._numbers(best)}, more by less than a standard error"
        return f"later ones score no higher{costs}"

    def _name(self, candidate: Candidate) -> str:
        if candidate.iteration == 0:
            return "The policy that RL started from"
        return f"Iteration {candidate.iteration} of {self.iterations}"

    def _numbers(self, candidate: Candidate) -> str:
        return f"{self.judge} {candidate.described}"

    def write(self, stage_dir: Path) -> None:
        """Into the directory of stage rl, with what the numbers come to."""
        candidates = [
            {"score": item.score, "kl": item.kl, **asdict(item)} for item in self.candidates
        ]
        write_json(
            stage_dir / FRONTIER_FILE,
            {
                "judge": self.judge,
                "iterations": self.iterations,
                "kept": self.kept.iteration,
                "candidates": candidates,
            },
        )


def read_frontier(run: RunDir) -> Frontier | None:
    """What stage rl of a run compared; None where it kept its last policy."""
    path = run.stage_dir("rl") / FRONTIER_FILE
    if not path.exists():
        return None
    stored = read_json(path)
    with as_written(path):
        candidates = [_candidate(row) for row in stored["candidates"]]
        counts = {len(values) for item in candidates for values in (item.scores, item.kls)}
        if len(counts) != 1 or min(counts) < 2:
            raise ValueError(f"numbers of {sorted(counts)} prompts")
        return Frontier(str(stored["judge"]), int(stored["iterations"]), candidates)


def _candidate(row: dict[str, Any]) -> Candidate:
    scores, kls = ([float(value) for value in row[name]] for name in ("scores", "kls"))
    return Candidate(int(row["iteration"]), scores, kls)
