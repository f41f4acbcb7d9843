"""labeler=simulated: programs that rank in place of people, with tastes, mistakes and ties."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from rlhfkit.context import Context
from rlhfkit.data.prompt_columns import PromptColumns
from rlhfkit.types import Judgement, Messages
from rlhfkit_plugins.labelers import SimulatedConfig
from rlhfkit_plugins.labelers.features import measure, tokens
from rlhfkit_plugins.labelers.fluency import fluency
from rlhfkit_plugins.labelers.pool import POOL, SimulatedLabeler
from rlhfkit_plugins.labelers.ranking import ranks_of
from rlhfkit_plugins.rubrics import Rubric

TYPICAL_GAP = 1.0
"""Points between two completions that `error_rate` refers to; about the median of sampled pairs."""


LONGEST_PHRASE = 12
"""Words of the longest answer that a rubric wants without a sentence's end."""


class SimulatedLabelers:
    """The pool, or some of it.

    A mistake is noise on a labeler's score of one completion: standard Gumbel, times a scale, drawn
    from a hash of run seed, labeler, prompt and completion. So a ranking is a draw from the
    Plackett-Luce model of the labeler's scores, and two completions d points apart change places
    with probability 1 / (1 + exp(d / scale)), wherever they stand and whatever else is ranked. The
    scale makes that probability `error_rate` at d = `TYPICAL_GAP`; clearer pairs are confused less
    often, closer ones more often.
    """

    def __init__(self, config: SimulatedConfig, context: Context) -> None:
        self._seed, self._columns = context.config.seed, PromptColumns(context)
        self.labelers = _chosen(config)

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """By every labeler of the pool, from the last message of the prompt and its rubric."""
        return [
            self._rank_one(prompt[-1]["content"], rubric, texts)
            for prompt, rubric, texts in zip(
                prompts, self._rubrics(prompts), completions, strict=True
            )
        ]

    def score(self, prompts: Sequence[Messages], completions: Sequence[str]) -> list[float]:
        """The pool's mean points for each completion, before any mistake; one without words gets
        the fewest that another could."""
        return [
            self._mean_points(noticed(prompt[-1]["content"], text, rubric))
            for prompt, rubric, text in zip(
                prompts, self._rubrics(prompts), completions, strict=True
            )
        ]

    def _rubrics(self, prompts: Sequence[Messages]) -> list[Rubric | None]:
        """What the data says that a good answer is; None where it says nothing."""
        return [Rubric.of(row) for row in self._columns.of("rubric", prompts)]

    def _mean_points(self, features: Mapping[str, float]) -> float:
        points = [max(labeler.score(features), labeler.worst) for labeler in self.labelers]
        return sum(points) / len(points)

    def _rank_one(
        self, prompt: str, rubric: Rubric | None, completions: Sequence[str]
    ) -> list[Judgement]:
        features = [noticed(prompt, completion, rubric) for completion in completions]
        return [
            Judgement(self._ranks(labeler, prompt, completions, features), labeler.name)
            for labeler in self.labelers
        ]

    def _ranks(
        self,
        labeler: SimulatedLabeler,
        prompt: str,
        completions: Sequence[str],
        features: Sequence[Mapping[str, float]],
    ) -> list[int]:
        scale = noise_scale(labeler.error_rate)
        scores = [
            labeler.score(found) + scale * _gumbel(self._seed, labeler.name, prompt, completion)
            for completion, found in zip(completions, features, strict=True)
        ]
        return ranks_of(scores, labeler.tie_margin)


def noticed(prompt: str, completion: str, rubric: Rubric | None) -> dict[str, float]:
    """Every feature by name; with a rubric, how far each of its parts is kept as well."""
    features = measure(prompt, completion)
    if rubric is None:
        return features
    kept = {f"rubric_{part}": degree for part, degree in rubric.degrees(completion).items()}
    if rubric.words[1] <= LONGEST_PHRASE:
        features["complete"] = 1.0  # a word or a list needs no full stop
    features["echo"] = max(0.0, 2 * features["echo"] - 1)  # whole sentences take up half a question
    known = {*tokens(prompt), *tokens(" ".join(chain(*rubric.contains)))}
    return features | kept | {"fluency": fluency(completion, known)}


def noise_scale(error_rate: float) -> float:
    """Points per unit of Gumbel noise."""
    return TYPICAL_GAP / math.log(1 / error_rate - 1) if error_rate else 0.0


def _gumbel(*key: object) -> float:
    """A standard Gumbel number that depends on nothing but the key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    uniform = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48
    return -math.log(-math.log(uniform))


def _chosen(config: SimulatedConfig) -> list[SimulatedLabeler]:
    pool = [POOL[name] for name in (POOL if config.labelers is None else config.labelers)]
    rate = config.error_rate
    return pool if rate is None else [replace(labeler, error_rate=rate) for labeler in pool]
