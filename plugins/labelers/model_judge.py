"""labeler=model_judge: a model behind an HTTP server of OpenAI's protocol compares completions, and
rates each alone where evaluator=ratings asks for it."""

import os
from collections.abc import Sequence

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.types import Judgement, Messages
from rlhfkit_plugins.labelers import ModelJudgeConfig
from rlhfkit_plugins.labelers.judge_pool import JudgePool, Question
from rlhfkit_plugins.labelers.judge_prompt import load_prompts
from rlhfkit_plugins.labelers.rating import RatingQuestion, Values
from rlhfkit_plugins.labelers.served_model import ServedModel


class ModelJudge:
    """A pool of judges that are one served model."""

    def __init__(self, config: ModelJudgeConfig, context: Context) -> None:
        self.name = f"model-judge:{config.model}"
        self._model = ServedModel(config, context)
        self._pool = JudgePool(config, context.config.seed, self.name, self._outcomes)

    @staticmethod
    def check_run(config: ModelJudgeConfig, context: Context) -> None:
        """Raise `UserError` for prompts that cannot be read and for a key that is not there."""
        load_prompts("labeler.prompts", config.prompts)
        variable = config.api_key_variable
        if variable and not os.environ.get(variable):
            raise UserError(
                f"labeler.api_key_variable={variable}: no such environment variable is set"
            )

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """By every judge of the pool."""
        found = self._pool.rank(prompts, completions)
        if self._pool.compared:
            agreed = self._pool.consistent / self._pool.compared
            self._model.tell(f"both orders agree on {agreed:.0%} of pairs, ")
        return found

    def rate(self, questions: Sequence[RatingQuestion]) -> list[Values | None]:
        """A rating each; None where the model gives none, even when reminded."""
        found = self._model.verdicts(questions, "evaluator.ratings.prompts")
        self._model.tell()
        return found

    def _outcomes(self, questions: Sequence[Question]) -> list[int]:
        """A judge that does not say which is better ties the two."""
        return [found or 0 for found in self._model.verdicts(questions, "labeler.prompts")]
