"""Labelers and evaluators asked, and their answers checked: a plugin may give anything."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.protocols import Evaluator, Labeler
from rlhfkit.types import Evaluation, Judgement, Messages, PolicySamples
from rlhfkit.validators import is_ranking


def judgements_of(
    labeler: Labeler, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
) -> list[list[Judgement]]:
    """For every prompt at least one judgement of its completions; of several processes each asks
    for its share.

    Raises `UserError` for a labeler that does not give one whole rank per completion.
    """

    def some(rows: Sequence[int]) -> list[list[Judgement]]:
        return _asked(labeler, [prompts[row] for row in rows], [completions[row] for row in rows])

    return processes.map_sharded(some, range(len(prompts)))


def _asked(
    labeler: Labeler, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
) -> list[list[Judgement]]:
    name = getattr(labeler, "name", type(labeler).__name__)
    found: Any = labeler.rank(prompts, completions)
    if not isinstance(found, list) or len(found) != len(prompts):
        said = f"ranked {len(found)} of" if isinstance(found, list) else f"gave {found!r:.80} for"
        raise UserError(f"labeler {name}: {said} {count_of(len(prompts), 'prompt')}")
    for place, (pool, texts) in enumerate(zip(found, completions, strict=True), start=1):
        if not isinstance(pool, list) or not pool:
            raise UserError(f"labeler {name}: gave no judgement of prompt {place}")
        for judged in pool:
            if not is_ranking(getattr(judged, "ranks", None), len(texts)):
                raise UserError(
                    f"labeler {name}: gave {judged!r:.80} for the {len(texts)} completions of "
                    f"prompt {place}; one whole number each is needed"
                )
    checked: list[list[Judgement]] = found
    return checked


def evaluation_of(
    name: str, evaluator: Evaluator, samples: Mapping[str, PolicySamples]
) -> Evaluation:
    """What an evaluator finds; `UserError` for one that gives something else."""
    found: Any = evaluator.evaluate(samples)
    if not isinstance(found, Evaluation):
        raise UserError(f"evaluator {name}: gave {found!r:.80}; rlhfkit.types.Evaluation is needed")
    return found
