"""labeler=model_judge: a model behind an HTTP server of OpenAI's protocol compares completions.

Asked: POST /v1/chat/completions {"model": ..., "messages": [...], "temperature": 0, ...}
Answered: {"choices": [{"message": {"content": "[[A]]"}}], "usage": {"prompt_tokens": 90, ...}}
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.distributed import processes
from rlhfkit.errors import Stopped, UserError
from rlhfkit.storage.answer_cache import ANSWERS, Answer, AnswerCache
from rlhfkit.types import Judgement, Messages
from rlhfkit_plugins.json_server import JsonServer
from rlhfkit_plugins.labelers import ModelJudgeConfig
from rlhfkit_plugins.labelers.judge_pool import JudgePool, Question
from rlhfkit_plugins.labelers.judge_prompt import load_prompts

_PATH = "/v1/chat/completions"
_PART = 256
"""Questions between two looks at how many answers have no verdict."""

_FEWEST = 20
"""Answers before too many without a verdict stop the stage."""


class ModelJudge:
    """A pool of judges that are one served model."""

    def __init__(self, config: ModelJudgeConfig, context: Context) -> None:
        self._config = config
        url = config.url.rstrip("/").removesuffix("/v1")  # as OpenAI's own clients are told it
        self._server = JsonServer(
            "labeler", replace(config, url=url), "does a server of OpenAI's protocol listen there?"
        )
        self._cache = AnswerCache(context.run_dir.root / ANSWERS, processes.rank())
        name = f"model-judge:{config.model}"
        self._pool = JudgePool(config, context.config.seed, name, self._outcomes)
        self._answered: list[Answer] = []
        """Those that were asked for by this process, not found in the run."""

        self._read = self._unreadable = 0

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
        before = len(self._answered), self._read
        found = self._pool.rank(prompts, completions)
        if self._read > before[1]:
            self._tell(self._answered[before[0] :], self._read - before[1])
        return found

    def _outcomes(self, questions: Sequence[Question]) -> list[int]:
        """Some at a time, so that a model that gives no verdicts is not asked everything."""
        parts = (questions[start : start + _PART] for start in range(0, len(questions), _PART))
        return [outcome for part in parts for outcome in self._outcomes_of(part)]

    def _outcomes_of(self, questions: Sequence[Question]) -> list[int]:
        keys = [self._key(question) for question in questions]
        unknown = {
            key: question
            for key, question in zip(keys, questions, strict=True)
            if key not in self._cache
        }
        pool = ThreadPoolExecutor(self._config.requests_at_once)
        try:
            list(pool.map(self._answer, unknown, unknown.values()))
        finally:  # after a failure nothing more is asked; what was answered is in the run
            pool.shutdown(cancel_futures=True)
        return [
            self._outcome(question, self._cache[key])
            for key, question in zip(keys, questions, strict=True)
        ]

    def _outcome(self, question: Question, answer: Answer) -> int:
        """A judge that does not say which is better, even when reminded, ties the two."""
        found = question.judge.outcome(answer.text)
        self._read += 1
        self._unreadable += found is None
        limit = self._config.max_unreadable
        if self._read >= _FEWEST and self._unreadable > limit * self._read:
            raise Stopped(
                f"labeler=model_judge: {self._unreadable} of {self._read} answers of "
                f"{self._config.model} have no verdict, as {answer.text!r:.80}; mend "
                f"labeler.prompts, or raise labeler.max_unreadable={limit}"
            )
        return found or 0

    def _answer(self, key: str, question: Question) -> None:
        """Put the server's answer into the run; it is reminded once of what is asked."""
        messages = question.messages
        answer = self._ask(messages)
        if question.judge.outcome(answer.text) is None:
            said = {"role": "assistant", "content": answer.text or "..."}
            reminder = {"role": "user", "content": question.judge.reminder}
            again = self._ask([*messages, said, reminder])
            answer = Answer(
                again.text,
                answer.prompt_tokens + again.prompt_tokens,
                answer.completion_tokens + again.completion_tokens,
            )
        self._cache.add(key, answer)
        self._answered.append(answer)

    def _key(self, question: Question) -> str:
        asked = json.dumps([self._config.url, self._body(question.messages)], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def _body(self, messages: Messages) -> dict[str, Any]:
        config = self._config
        body = {
            "model": config.model,
            "messages": messages,
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
            **config.body,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _ask(self, messages: Messages) -> Answer:
        text = self._server.post(_PATH, self._body(messages))
        try:
            found = json.loads(text)
            said = found["choices"][0]["message"].get("content")  # null where it refuses
            usage = found.get("usage") or {}
            tokens = [int(usage.get(f"{part}_tokens") or 0) for part in ("prompt", "completion")]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._server.error(
                f"{_PATH} answered without choices[0].message.content: {text!r:.80}"
            ) from error
        return Answer(said if isinstance(said, str) else "", *tokens)

    def _tell(self, asked: Sequence[Answer], read: int) -> None:
        """What the last prompts took."""
        given = sum(answer.prompt_tokens for answer in asked)
        made = sum(answer.completion_tokens for answer in asked)
        prices = self._config.input_price, self._config.output_price
        cost = (given * prices[0] + made * prices[1]) / 1e6
        paid = f", ${cost:.4f}" if any(prices) else ""
        agreed = self._pool.consistent / self._pool.compared
        console.print(
            f"  {self._config.model}: {len(asked)} questions asked, {read - len(asked)} answers "
            f"taken from the run; {given} + {made} tokens{paid}; both orders agree on "
            f"{agreed:.0%} of pairs, {self._unreadable} answers without a verdict so far",
            markup=False,
            soft_wrap=True,
        )
