"""Texts to tokens and back: the one place where prompts and completions are rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from rlhfkit.config.run import TEMPLATE_DATE
from rlhfkit.context import Context
from rlhfkit.data.chat_template import CannotRender, render
from rlhfkit.data.ends import find_ends
from rlhfkit.errors import UserError
from rlhfkit.models.generation_config import end_ids, load_generation_config
from rlhfkit.models.loading import is_adapter, load_config, load_tokenizer
from rlhfkit.types import Demonstration, Ends, Message, Messages

TOKENIZER_FILE = "tokenizer_config.json"
"""Beside a model that brings a tokenizer of its own."""

_PROBE = "Hello 4711"


@dataclass(frozen=True)
class TextFormat:
    """How one model reads prompts and completions."""

    tokenizer: Any
    chat: bool
    """Whether the tokenizer's chat template wraps the prompt."""

    ends: Ends
    """What ends a response."""

    vocabulary: int | None = None
    """How many tokens the model knows; None where that is not checked."""

    template_date: str = TEMPLATE_DATE
    """What a template that asks for the date is told."""

    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What the template is given for every prompt, as `enable_thinking`."""

    def prompt_ids(self, prompt: Messages) -> list[int]:
        """The prompt up to where the model's answer starts."""
        return self._ids(self.prompt_text(prompt), special=not self.chat)

    def prompt_text(self, prompt: Messages) -> str:
        """The prompt as text, template included."""
        if not self.chat:
            return plain_text(prompt)
        return self._rendered(prompt, add_generation_prompt=True)

    def demonstration_ids(self, item: Demonstration) -> tuple[list[int], list[int]]:
        """Prompt and completion of a demonstration; raises `CannotRender`."""
        if item.answer is not None:
            return self.prompt_ids(item.prompt), self.answer_ids(item.prompt, item.answer)
        return self.prompt_ids(item.prompt), self.completion_ids(item.completion)

    def answer_ids(self, prompt: Messages, answer: Message) -> list[int]:
        """A message with tool calls or reasoning as the template writes it after the prompt, its
        end included. Raises `CannotRender` where it does not write it there."""
        if not self.chat:
            raise self._refusal(prompt, "tool calls and reasoning need model.chat=true")
        asked = self.prompt_text(prompt)
        whole = self._rendered([*prompt, answer])
        end = self._rendered([*prompt, {"role": "assistant", "content": _PROBE}])
        text = whole.removeprefix(asked).removesuffix(end.rpartition(_PROBE)[2]).rstrip()
        if not whole.startswith(asked):
            raise self._refusal(prompt, "an answer is not written where the prompt ends")
        if not text.strip():
            raise self._refusal(prompt, "nothing of an answer is written, such as its tool_calls")
        return self.completion_ids(text)

    def _rendered(self, turns: Messages, add_generation_prompt: bool = False) -> str:
        date, kwargs = self.template_date, self.template_kwargs
        return render(self.tokenizer, turns, date, kwargs, add_generation_prompt)

    def _refusal(self, prompt: Messages, reason: str) -> CannotRender:
        return CannotRender(self.tokenizer.name_or_path, prompt, reason)

    def completion_ids(self, completion: str, finished: bool = True) -> list[int]:
        """A completion, with its end when it ended by itself; an empty one is the end alone."""
        completion = self._without_end(completion)
        text = completion if self.chat or completion[:1].isspace() else " " + completion
        ids = self._ids(text) if completion else []
        return [*ids, self.ends.taught] if finished or not ids else ids

    def text_ids(self, text: str) -> list[int]:
        """A pretraining text, outside any template."""
        return self._ids(text)

    def decode(self, ids: list[int]) -> str:
        """The text of a response, without special tokens and blanks at its end. Those at its
        beginning are its own, as of indented code, but for the one that `completion_ids` adds."""
        text: str = self.tokenizer.decode(self._before_end(ids), skip_special_tokens=True)
        for string in self.ends.strings:
            text = text.partition(string)[0]
        return (text if self.chat else text.removeprefix(" ")).rstrip()

    def _before_end(self, ids: list[int]) -> list[int]:
        return ids[:-1] if ids[-1:] and ids[-1] in self.ends.ids else ids

    def _without_end(self, completion: str) -> str:
        """A completion without the ends, and blanks after them, that rendered data brings along."""
        for text in (completion, completion.rstrip()):
            for end in self._end_texts:
                if text.endswith(end):
                    return self._without_end(text.removesuffix(end))
        return completion

    @cached_property
    def _end_texts(self) -> list[str]:
        tokens = self.tokenizer.get_added_vocab().items()
        return [*self.ends.strings, *(text for text, token in tokens if token in self.ends.ids)]

    def _ids(self, text: str, special: bool = False) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=special).input_ids
        if self.vocabulary is not None and ids and max(ids) >= self.vocabulary:
            raise UserError(
                f"the tokenizer of {self.tokenizer.name_or_path} has token {max(ids)} for "
                f"'{text:.60}', but the model knows {self.vocabulary} tokens: they do not belong "
                f"together"
            )
        if special and ids and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]
        return ids


def load_text_format(context: Context, path: str | None = None) -> TextFormat:
    """The run's tokenizer and template, or those of another model by directory or hub name."""
    model = context.config.model
    tokenizer = load_tokenizer(context, path)
    if path is not None:
        return _with_ends(context, path, tokenizer, chat=bool(tokenizer.chat_template))
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    if model.chat and not tokenizer.chat_template:
        raise UserError(
            f"model.chat=true, but the tokenizer of {model.path} has no chat template; set "
            f"model.chat=false or model.chat_template"
        )
    return _with_ends(context, None, tokenizer, model.chat, model.stop)


def _with_ends(
    context: Context, path: str | None, tokenizer: Any, chat: bool, stop: Sequence[str] = ()
) -> TextFormat:
    """With what the model, of which an adapter knows only the name, says of ends and vocabulary."""
    model = None if is_adapter(path) else path
    name = tokenizer.name_or_path
    generation = end_ids(load_generation_config(context, model), name)
    options = context.config.model
    text = TextFormat(
        tokenizer,
        chat,
        find_ends(tokenizer, chat, generation, stop),
        template_date=options.template_date,
        template_kwargs=options.chat_template_kwargs or {},
    )
    vocabulary = getattr(load_config(context, model).get_text_config(), "vocab_size", None)
    return _checked(name, text if vocabulary is None else _within(name, text, vocabulary))


def _within(name: str, text: TextFormat, vocabulary: int) -> TextFormat:
    """Without ends that the model does not know; `UserError` where it is to learn one of them."""
    for kind, token in (("EOS", text.tokenizer.eos_token_id), ("turn end", text.ends.taught)):
        if token >= vocabulary:
            raise UserError(
                f"{name}: its {kind} token is {token}, but the model knows {vocabulary} tokens"
            )
    known = tuple(token for token in text.ends.ids if 0 <= token < vocabulary)
    return replace(text, vocabulary=vocabulary, ends=replace(text.ends, ids=known))


def _checked(name: str, text: TextFormat) -> TextFormat:
    """`UserError` for a template that leaves the prompt out."""
    if _PROBE not in text.prompt_text([{"role": "user", "content": _PROBE}]):
        raise UserError(
            f"the chat template of {name} leaves out what the user says; set model.chat_template "
            f"or model.chat=false"
        )
    return text


def plain_text(prompt: Messages) -> str:
    """A prompt without template: one message is taken as it is, a dialogue gets speaker names."""
    if len(prompt) == 1:
        text: str = prompt[0]["content"]
        return text
    names = {"user": "Human", "assistant": "Assistant", "system": "System"}
    turns = [f"{names.get(turn['role'], turn['role'])}: {turn['content']}" for turn in prompt]
    return "\n\n".join([*turns, "Assistant:"])
