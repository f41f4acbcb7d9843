"""What people or models say of answers alone: overall ratings from 1 to 7 and the flags of
InstructGPT's table 3, as means by policy and as paired differences from the SFT model."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlhfkit.intervals import interval
from rlhfkit.labelling.submission import FLAGS
from rlhfkit.storage.catalogue import ROWS
from rlhfkit.storage.run_dir import RunDir, as_written, read_jsonl
from rlhfkit.types import Messages, Metric

LEVEL = 0.95
RESAMPLES = 2000

JUDGED = "judge"
"""What names of models' ratings begin with, as in `judge_overall`; people's with `people`."""

_Cells = dict[str, dict[str, dict[str, dict[str, list[float]]]]]
"""By policy, name, prompt and labeler."""


@dataclass(frozen=True)
class Rated:
    """What one labeler said of one answer.

    Example: Rated("rl", [{"role": "user", "content": "Hi"}], "ann", {"overall": 6, "opinion": 0}).
    """

    policy: str
    prompt: Messages
    labeler: str

    values: Mapping[str, float]
    """`overall` from 1 to 7, and of each flag that was asked about 1 where it is set, else 0."""


@dataclass(frozen=True)
class Ratings:
    """By policy and name; the independent items are the prompts."""

    ratings: dict[str, dict[str, Metric]] = field(default_factory=dict)
    """`overall` from 1 to 7, and of each flag the share of answers that have it."""

    differences: dict[str, dict[str, Metric]] = field(default_factory=dict)
    """How far they are above the SFT model's, as each labeler rates answers to the same prompt."""

    def metrics(self, prefix: str) -> dict[str, dict[str, Metric]]:
        """By policy, as `<prefix>_overall` and `<prefix>_overall_minus_sft`."""
        return {
            policy: {f"{prefix}_{name}": metric for name, metric in found.items()}
            | {
                f"{prefix}_{name}_minus_sft": metric
                for name, metric in self.differences.get(policy, {}).items()
            }
            for policy, found in self.ratings.items()
        }


@dataclass(frozen=True)
class JudgeRatings(Ratings):
    """Those of evaluator=ratings."""

    judges: list[str] = field(default_factory=list)
    answers: int = 0
    """How many were rated."""


def numbers(rating: Mapping[str, Any]) -> dict[str, float]:
    """A person's rating: `overall`, and 1 for each flag that is set."""
    flags = {flag: float(flag in rating["flags"]) for flag in FLAGS}
    return {"overall": float(rating["overall"]), **flags}


def measure_ratings(rated: Sequence[Rated]) -> Ratings:
    """Means and differences; empty where nobody rated."""
    cells: _Cells = {}
    for one in rated:
        for name, value in one.values.items():
            prompts = cells.setdefault(one.policy, {}).setdefault(name, {})
            labelers = prompts.setdefault(repr(one.prompt), {})
            labelers.setdefault(one.labeler, []).append(value)
    sft = cells.get("sft", {})
    means = {
        policy: {name: mean_over_prompts(_values(prompts)) for name, prompts in own.items()}
        for policy, own in cells.items()
    }
    differences = {
        policy: {
            name: mean_over_prompts(paired)
            for name, prompts in own.items()
            if (paired := _paired(prompts, sft.get(name, {})))
        }
        for policy, own in cells.items()
        if policy != "sft"
    }
    return Ratings(means, {policy: found for policy, found in differences.items() if found})


def mean_over_prompts(by_prompt: Mapping[str, Sequence[float]]) -> Metric:
    """The mean of the prompts' means."""
    means = [sum(values) / len(values) for values in by_prompt.values()]
    return interval(means, LEVEL, RESAMPLES, seed=0)


def read_judge_ratings(run: RunDir) -> JudgeRatings | None:
    """What models said of the answers of stage evaluate; None where none was asked."""
    path = run.stage_dir("evaluate") / ROWS / "ratings.jsonl"
    if not path.exists():
        return None
    rows = read_jsonl(path)
    with as_written(path):
        found = measure_ratings([_rated(row) for row in rows])
        answers = {(row["policy"], repr(row["prompt"]), row["completion"]) for row in rows}
        judges = sorted({row["labeler"] for row in rows})
    return JudgeRatings(found.ratings, found.differences, judges, len(answers))


def _rated(row: Mapping[str, Any]) -> Rated:
    values = {
        name.removeprefix(f"{JUDGED}_"): float(value)
        for name, value in row.items()
        if name.startswith(f"{JUDGED}_")
    }
    return Rated(row["policy"], row["prompt"], row["labeler"], values)


def _values(prompts: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    return {
        prompt: [value for values in labelers.values() for value in values]
        for prompt, labelers in prompts.items()
    }


def _paired(
    own: Mapping[str, Mapping[str, Sequence[float]]],
    sft: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[str, list[float]]:
    """By prompt a difference for each labeler who rated both."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for prompt, labelers in own.items():
        for labeler, values in labelers.items():
            others = sft.get(prompt, {}).get(labeler)
            if others:
                found[prompt].append(sum(values) / len(values) - sum(others) / len(others))
    return found
