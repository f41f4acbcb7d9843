"""What a run has stored that diagnoses read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rlhfkit.diagnosis.series import LEAST_WINDOW, Series

PARTS = {
    "trained_prompts": "prompts of stage sample or prepare",
    "held_out_prompts": "prompts of stage evaluate or prepare",
    "completions": "completions of stage sample",
    "reward_spreads": f"reward/<name>_std of {LEAST_WINDOW} iterations",
    "measured": "a reward of weight 0",
    "evaluation": "metrics of stage evaluate",
    "held_out_answers": "answers of rl and sft in stage evaluate",
    "second_opinion": "a metric of ability, or a reward of weight 0, in stage evaluate",
}
"""What a diagnosis may need beside the metrics of stage rl, and what it is called."""


@dataclass(frozen=True)
class Evidence:
    """Everything a diagnosis may look at; what a run does not have is empty."""

    rows: Sequence[Mapping[str, Any]] = ()
    """metrics.jsonl of stage rl, one row an iteration."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options of stage rl by dotted name, as its record has them."""

    evaluation: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    """metrics.json of stage evaluate: by policy and name a `rlhfkit.types.Metric`."""

    tax: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """tax.json of stage evaluate: by metric a `rlhfkit.types.TaxEntry`."""

    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """samples.jsonl of stage evaluate: by policy its answers."""

    completions: Sequence[Sequence[str]] = ()
    """Of stage sample, by prompt."""

    trained_prompts: Sequence[str] = ()
    held_out_prompts: Sequence[str] = ()

    @cached_property
    def scored(self) -> list[str]:
        """The reward functions that count, those of weight 0 being only measured."""
        return [name for name in self._rewards if self._weight(name) != 0]

    @cached_property
    def measured(self) -> list[str]:
        """The reward functions that nothing is trained on."""
        return [name for name in self._rewards if self._weight(name) == 0]

    @cached_property
    def held_out_answers(self) -> Mapping[str, Sequence[str]]:
        """Those of the policy and of the SFT model; nothing where one of them has none."""
        return self.answers if self.answers.get("rl") and self.answers.get("sft") else {}

    @cached_property
    def evaluated_rewards(self) -> dict[str, tuple[Mapping[str, float], Mapping[str, float]]]:
        """By reward that nothing is trained on, the policy's and the SFT model's metric."""
        policy, sft = (self.evaluation.get(who, {}) for who in ("rl", "sft"))
        names = {name: f"reward/{name}" for name in self.measured}
        return {
            name: (policy[key], sft[key])
            for name, key in names.items()
            if key in policy and key in sft
        }

    @property
    def second_opinion(self) -> bool:
        """Whether anything but what is trained on compares the policy with the SFT model."""
        paired = any(entry["deltas"].get("sft", {}).get("rl") for entry in self.tax.values())
        return paired or bool(self.evaluated_rewards)

    @cached_property
    def reward_spreads(self) -> dict[str, Series]:
        """By reward that counts, the standard deviation of its numbers over each batch."""
        found = {name: self.series(f"reward/{name}_std") for name in self.scored}
        return {name: spread for name, spread in found.items() if len(spread) >= LEAST_WINDOW}

    @cached_property
    def token_entropy(self) -> Series:
        """The entropy of a token: an episode's over its length."""
        found, lengths = self.series("objective/entropy"), self.series("response/length")
        length = dict(zip(lengths.steps, lengths.values, strict=True))
        points = zip(found.steps, found.values, strict=True)
        by_token = {step: value / length[step] for step, value in points if length.get(step)}
        return Series([*by_token], [*by_token.values()])

    def series(self, name: str) -> Series:
        """The course of a metric."""
        return Series.read(self.rows, name)

    def has(self, need: str, iterations: int) -> bool:
        """Whether there is what a diagnosis needs: a metric at so many iterations, or anything at
        all where it is another part of this."""
        if need in PARTS:
            return bool(getattr(self, need))
        return len(self.series(need)) >= iterations

    def option(self, name: str, default: float) -> float:
        """An option that is a number; the default where the run has no such option, or none set."""
        value = self.settings.get(name)
        return value if isinstance(value, int | float) else default

    @property
    def _rewards(self) -> list[str]:
        names = (key.removeprefix("reward/") for key in (self.rows[-1] if self.rows else ()))
        return [name for name in names if f"reward/{name}_std" in self.rows[-1]]

    def _weight(self, reward: str) -> float:
        return self.option(f"reward.{reward}.weight", 1.0)
