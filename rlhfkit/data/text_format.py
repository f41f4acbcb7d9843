"""Texts to tokens and back: the one place where prompts and completions are rendered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rlhfkit.config.run import TEMPLATE_DATE, ModelConfig
from rlhfkit.context import Context
from rlhfkit.data.chat_template import CannotRender, render
from rlhfkit.errors import UserError
from rlhfkit.models.loading import is_adapter, load_config, load_tokenizer
from rlhfkit.types import Demonstration, Message, Messages

TOKENIZER_FILE = "tokenizer_config.json"
"""Beside a model that brings a tokenizer of its own."""

_PROBE = "Hello 4711"


@dataclass(frozen=True)
class TextFormat:
    """How one model reads prompts and completions."""

    tokenizer: Any
    chat: bool
    """Whether the tokenizer's chat template wraps the prompt."""

    vocabulary: int | None = None
    """How many tokens the model knows; None where that is not checked."""

    template_date: str = TEMPLATE_DATE
    """What a template that asks for the date is told."""

    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What the template is given for every prompt, as `enable_thinking`."""

    @property
    def eos_token_id(self) -> int:
        """The id that ends a completion."""
        eos: int = self.tokenizer.eos_token_id
        return eos

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
        """A message with tool calls or reasoning as the template writes it after the prompt, EOS
        included. Raises `CannotRender` where it does not write it there."""
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
        """A completion, with EOS when it ended by itself; an empty one is EOS alone."""
        text = completion if self.chat or completion[:1].isspace() else " " + completion
        ids = self._ids(text) if completion else []
        return [*ids, self.eos_token_id] if finished or not ids else ids

    def text_ids(self, text: str) -> list[int]:
        """A pretraining text, outside any template."""
        return self._ids(text)

    def decode(self, ids: list[int]) -> str:
        """The text of a response, without special tokens and blanks at its end. Those at its
        beginning are its own, as of indented code, but for the one that `completion_ids` adds."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return (text if self.chat else text.removeprefix(" ")).rstrip()

    def _ids(self, text: str, special: bool = False) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=special).input_ids
        if self.vocabulary is not None and ids and max(ids) >= self.vocabulary:
            raise UserError(
                f"the tokenizer of {self.tokenizer.name_or_path} has token {max(ids)} for "
                f"'{text:.60}', but the model knows {self.vocabulary} tokens: they do not belong "
                f"together"
            )
        if special and ids and ids[-1] == self.eos_token_id:
            ids = ids[:-1]
        return ids


def load_text_format(context: Context, path: str | None = None) -> TextFormat:
    """The run's tokenizer and template, or those of another model by directory or hub name."""
    model = context.config.model
    tokenizer = load_tokenizer(context, path)
    if path is not None:
        chat = bool(tokenizer.chat_template)
        return _checked(context, path, _text_format(model, tokenizer, chat))
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    if model.chat and not tokenizer.chat_template:
        raise UserError(
            f"model.chat=true, but the tokenizer of {model.path} has no chat template; set "
            f"model.chat=false or model.chat_template"
        )
    return _checked(context, path, _text_format(model, tokenizer, model.chat))


def _text_format(model: ModelConfig, tokenizer: Any, chat: bool) -> TextFormat:
    return TextFormat(
        tokenizer,
        chat,
        template_date=model.template_date,
        template_kwargs=model.chat_template_kwargs or {},
    )


def _checked(context: Context, path: str | None, text: TextFormat) -> TextFormat:
    """With the size of the model's vocabulary. Raises `UserError` for an EOS token that the model
    does not know, and for a template that leaves the prompt out."""
    config = load_config(context, None if is_adapter(path) else path)
    vocabulary = getattr(config.get_text_config(), "vocab_size", None)
    name = text.tokenizer.name_or_path
    if vocabulary is not None and text.eos_token_id >= vocabulary:
        raise UserError(
            f"{name}: its EOS token is {text.eos_token_id}, but the model knows {vocabulary} tokens"
        )
    if _PROBE not in text.prompt_text([{"role": "user", "content": _PROBE}]):
        raise UserError(
            f"the chat template of {name} leaves out what the user says; set model.chat_template "
            f"or model.chat=false"
        )
    return replace(text, vocabulary=vocabulary)


def plain_text(prompt: Messages) -> str:
    """A prompt without template: one message is taken as it is, a dialogue gets speaker names."""
    if len(prompt) == 1:
        text: str = prompt[0]["content"]
        return text
    names = {"user": "Human", "assistant": "Assistant", "system": "System"}
    turns = [f"{names.get(turn['role'], turn['role'])}: {turn['content']}" for turn in prompt]
    return "\n\n".join([*turns, "Assistant:"])
