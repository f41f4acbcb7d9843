"""A model behind an HTTP server of OpenAI's protocol, asked questions whose answers can be read.

Asked: POST /v1/chat/completions {"model": ..., "messages": [...], "temperature": 0, ...}
Answered: {"choices": [{"message": {"content": "[[A]]"}}], "usage": {"prompt_tokens": 90, ...}}
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from rlhfkit.console import console, count_of
from rlhfkit.context import Context
from rlhfkit.distributed import processes
from rlhfkit.errors import Stopped
from rlhfkit.storage.answer_cache import ANSWERS, Answer, AnswerCache
from rlhfkit.types import Messages
from rlhfkit_plugins.json_server import JsonServer
from rlhfkit_plugins.labelers import ModelJudgeConfig

_PATH = "/v1/chat/completions"
_PART = 256
"""Questions between two looks at how many answers have no verdict."""

_FEWEST = 20
"""Answers before too many without a verdict stop the stage."""

Verdict = TypeVar("Verdict")
Said = TypeVar("Said", covariant=True)


class Question(Protocol[Said]):
    """What the model is asked, and how its answer is read."""

    @property
    def messages(self) -> Messages:
        """The conversation."""

    @property
    def lines(self) -> int:
        """How many lines the answer has, each as long as `labeler.max_tokens` at most."""

    @property
    def reminder(self) -> str:
        """What is said where the answer cannot be read."""

    def read(self, answer: str) -> Said | None:
        """What the answer says; None where it cannot be read."""


class ServedModel:
    """Asks each question once: answers are kept in the run."""

    def __init__(self, config: ModelJudgeConfig, context: Context) -> None:
        self._config = config
        url = config.url.rstrip("/").removesuffix("/v1")  # as OpenAI's own clients are told it
        self._server = JsonServer(
            "labeler", replace(config, url=url), "does a server of OpenAI's protocol listen there?"
        )
        self._cache = AnswerCache(context.run_dir.root / ANSWERS, processes.rank())
        self._answered: list[Answer] = []
        """Those that were asked for by this process, not found in the run, since the last line."""

        self._read = self._unreadable = self._told = 0

    def verdicts(
        self, questions: Sequence[Question[Verdict]], prompts: str
    ) -> list[Verdict | None]:
        """What the model says; None where it does not, even when reminded. Some questions at a
        time, so that a model that gives no verdicts is not asked everything.

        prompts: the option that says how it is asked.
        """
        parts = (questions[start : start + _PART] for start in range(0, len(questions), _PART))
        return [verdict for part in parts for verdict in self._verdicts_of(part, prompts)]

    def _verdicts_of(
        self, questions: Sequence[Question[Verdict]], prompts: str
    ) -> list[Verdict | None]:
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
            self._verdict(question, self._cache[key], prompts)
            for key, question in zip(keys, questions, strict=True)
        ]

    def _verdict(self, question: Question[Verdict], answer: Answer, prompts: str) -> Verdict | None:
        found = question.read(answer.text)
        self._read += 1
        self._unreadable += found is None
        limit = self._config.max_unreadable
        if self._read >= _FEWEST and self._unreadable > limit * self._read:
            raise Stopped(
                f"labeler=model_judge: {self._unreadable} of {self._read} answers of "
                f"{self._config.model} have no verdict, as {answer.text!r:.80}; mend "
                f"{prompts}, or raise labeler.max_unreadable={limit}"
            )
        return found

    def _answer(self, key: str, question: Question[object]) -> None:
        """Put the server's answer into the run; it is reminded once of what is asked."""
        messages = question.messages
        answer = self._ask(question, messages)
        if question.read(answer.text) is None:
            said = {"role": "assistant", "content": answer.text or "..."}
            reminder = {"role": "user", "content": question.reminder}
            again = self._ask(question, [*messages, said, reminder])
            answer = Answer(
                again.text,
                answer.prompt_tokens + again.prompt_tokens,
                answer.completion_tokens + again.completion_tokens,
            )
        self._cache.add(key, answer)
        self._answered.append(answer)

    def _key(self, question: Question[object]) -> str:
        body = self._body(question, question.messages)
        asked = json.dumps([self._config.url, body], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def _body(self, question: Question[object], messages: Messages) -> dict[str, Any]:
        config = self._config
        body = {
            "model": config.model,
            "messages": messages,
            "temperature": config.temperature,
            "max_tokens": config.max_tokens * question.lines,
            **config.body,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _ask(self, question: Question[object], messages: Messages) -> Answer:
        text = self._server.post(_PATH, self._body(question, messages))
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

    def tell(self, more: str = "") -> None:
        """A line on what was asked since the last one; none where nothing was.

        more: something else to say in it.
        """
        asked, read = self._answered, self._read - self._told
        if not read:
            return
        self._answered, self._told = [], self._read
        given = sum(answer.prompt_tokens for answer in asked)
        made = sum(answer.completion_tokens for answer in asked)
        prices = self._config.input_price, self._config.output_price
        cost = (given * prices[0] + made * prices[1]) / 1e6
        paid = f", ${cost:.4f}" if any(prices) else ""
        console.print(
            f"  {self._config.model}: {count_of(len(asked), 'question')} asked, "
            f"{count_of(read - len(asked), 'answer')} taken from the run; {given} + {made} "
            f"tokens{paid}; {more}{count_of(self._unreadable, 'answer')} without a verdict so far",
            markup=False,
            soft_wrap=True,
        )
