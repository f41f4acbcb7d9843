"""evaluator=ratings: a model rates each answer alone, as people do on the page.

Source: InstructGPT, section 3.6: the overall rating from 1 to 7 and the metadata of table 3.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rlhfkit.console import count_of
from rlhfkit.context import Context
from rlhfkit.distributed import processes
from rlhfkit.errors import NotRun, UserError
from rlhfkit.labelling.ratings import JUDGED, Rated, measure_ratings
from rlhfkit.types import Evaluation, PolicySamples
from rlhfkit_plugins.evaluators.options import RatingsConfig
from rlhfkit_plugins.labelers.rating import Rater, RatingQuestion
from rlhfkit_plugins.labelers.rating_prompt import load_rating_prompts

_OPTION = "evaluator.ratings.prompts"


class RatingsEvaluator:
    """Asks the model that `labeler=` names, by each prompt of its own."""

    def __init__(self, config: RatingsConfig, context: Context) -> None:
        self.check_run(config, context)
        self._judges = load_rating_prompts(_OPTION, config.prompts)
        self._rater: Rater = context.make("labeler", context.config.labeler)

    @staticmethod
    def check_run(config: RatingsConfig, context: Context) -> None:
        """Raise `UserError` for labelers that do not rate and for prompts that cannot be read."""
        chosen = context.config.labeler
        if not hasattr(context.factory("labeler", chosen), "rate"):
            raise UserError(
                f"evaluator=ratings: labeler={chosen.name} ranks and does not rate; choose "
                f"labeler=model_judge or labeler=local_judge"
            )
        load_rating_prompts(_OPTION, config.prompts)

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """`judge_overall`, the share of answers that have each flag, and how far both are above the
        SFT model's."""
        asked = [*self._asked(samples)]
        values = processes.map_sharded(self._rater.rate, [question for _, question in asked])
        rows, rated = list[dict[str, Any]](), list[Rated]()
        for (policy, question), found in zip(asked, values, strict=True):
            if found is not None:
                labeler = f"{self._rater.name}:{question.judge.name}"
                rated.append(Rated(policy, question.prompt, labeler, found))
                rows.append(_row(rated[-1], question.answer))
        replies = count_of(len(asked), "reply", "replies")
        if not rated:
            raise NotRun(f"none of {replies} of {self._rater.name} is a rating")
        unread = len(asked) - len(rated)
        said = f"no rating and left out: {unread} of {replies}"
        notes = [said] if unread else []
        return Evaluation(measure_ratings(rated).metrics(JUDGED), rows, notes=notes)

    def _asked(self, samples: Mapping[str, PolicySamples]) -> Iterator[tuple[str, RatingQuestion]]:
        for policy, own in samples.items():
            for prompt, text in zip(own.prompts, own.completions, strict=True):
                for judge in self._judges:
                    yield policy, RatingQuestion(judge, prompt, text)


def _row(rated: Rated, answer: str) -> dict[str, Any]:
    values = {f"{JUDGED}_{name}": value for name, value in rated.values.items()}
    return {
        "policy": rated.policy,
        "prompt": rated.prompt,
        "completion": answer,
        "labeler": rated.labeler,
        **values,
    }
