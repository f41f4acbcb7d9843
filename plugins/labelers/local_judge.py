"""labeler=local_judge: a model in this process compares completions, by what it finds likelier, and
rates each alone where evaluator=ratings asks for it.

Nothing is sampled: of the verdicts that a prompt allows, the one with the highest probability as
the model's answer counts; of a rating, line by line. So every answer is a verdict, and the same
question gets the same one.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from rlhfkit.context import Context
from rlhfkit.data.text_format import TOKENIZER_FILE, TextFormat, load_text_format
from rlhfkit.errors import UserError
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Judgement, Messages
from rlhfkit_plugins.labelers import LocalJudgeConfig
from rlhfkit_plugins.labelers.judge_pool import JudgePool, Question
from rlhfkit_plugins.labelers.judge_prompt import load_prompts
from rlhfkit_plugins.labelers.rating import RatingQuestion, Values


class LocalJudge:
    """A pool of judges that are one model; it is loaded when the first question comes."""

    def __init__(self, config: LocalJudgeConfig, context: Context) -> None:
        self._path, self._context = config.path, context
        self._size = AdaptiveBatchSize("judge", config.batch_size)
        self.name = f"local-judge:{config.path}"
        self._pool = JudgePool(config, context.config.seed, self.name, self._outcomes)

    @staticmethod
    def check_run(config: LocalJudgeConfig, context: Context) -> None:
        """Raise `UserError` for prompts that cannot be read and for a model that is not there."""
        load_prompts("labeler.prompts", config.prompts)
        if config.path.count("/") > 1 and not Path(config.path).is_dir():
            raise UserError(f"labeler.path={config.path}: no such directory")

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """By every judge of the pool."""
        return self._pool.rank(prompts, completions)

    @cached_property
    def _model(self) -> LanguageModel:
        model: LanguageModel = self._context.build("loader").language_model(self._path)
        return model

    @cached_property
    def _text(self) -> TextFormat:
        """The tokenizer and template beside the model, or the run's where there are none."""
        folder = Path(self._path)
        own = not folder.is_dir() or (folder / TOKENIZER_FILE).exists()
        return load_text_format(self._context, self._path if own else None)

    def rate(self, questions: Sequence[RatingQuestion]) -> list[Values | None]:
        """A rating each: every line is the likeliest one behind those above it."""
        said = [""] * len(questions)
        for place in range(max((question.lines for question in questions), default=0)):
            allowed = [
                question.continued(text, place)
                for question, text in zip(questions, said, strict=True)
            ]
            said = self._likeliest(questions, allowed)
        return [question.read(text) for question, text in zip(questions, said, strict=True)]

    def _outcomes(self, questions: Sequence[Question]) -> list[int]:
        """Of equally likely verdicts the one for the first completion counts, then a tie."""
        verdicts = [
            dict(sorted(question.judge.verdicts, key=lambda verdict: -verdict[1]))
            for question in questions
        ]
        said = self._likeliest(questions, [[*texts] for texts in verdicts])
        return [outcomes[text] for outcomes, text in zip(verdicts, said, strict=True)]

    def _likeliest(
        self, questions: Sequence[Question | RatingQuestion], allowed: Sequence[Sequence[str]]
    ) -> list[str]:
        """Of the answers that each question allows the one with the highest probability; of equally
        likely ones the first."""
        prompts, answers = [], []
        for question, texts in zip(questions, allowed, strict=True):
            ids = self._text.prompt_ids(question.messages)
            for text in texts:
                prompts.append(ids)
                answers.append(self._text.completion_ids(text, finished=False))
        rows = teacher_forced_logprobs(self._model, prompts, answers, 1.0, self._size)
        sums = iter([float(row.sum()) for row in rows])
        return [max(texts, key=lambda _: next(sums)) for texts in allowed]
