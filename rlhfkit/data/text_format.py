"""Texts to tokens and back: the one place where prompts and completions are rendered."""

from dataclasses import dataclass, replace
from typing import Any

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.loading import is_adapter, load_config, load_tokenizer
from rlhfkit.types import Messages

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
        try:
            text: str = self.tokenizer.apply_chat_template(
                prompt, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template is a program, and may fail as one
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"the chat template of {self.tokenizer.name_or_path} cannot render "
                f"'{plain_text(prompt):.60}': {reason}; set model.chat_template or model.chat=false"
            ) from error
        return text

    def completion_ids(self, completion: str, finished: bool = True) -> list[int]:
        """A completion, with EOS when it ended by itself; an empty one is EOS alone."""
        text = completion if self.chat or completion[:1].isspace() else " " + completion
        ids = self._ids(text) if completion else []
        return [*ids, self.eos_token_id] if finished or not ids else ids

    def text_ids(self, text: str) -> list[int]:
        """A pretraining text, outside any template."""
        return self._ids(text)

    def decode(self, ids: list[int]) -> str:
        """The text of a response, without special tokens and outer blanks."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()

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
        return _checked(context, path, TextFormat(tokenizer, chat=bool(tokenizer.chat_template)))
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    if model.chat and not tokenizer.chat_template:
        raise UserError(
            f"model.chat=true, but the tokenizer of {model.path} has no chat template; set "
            f"model.chat=false or model.chat_template"
        )
    return _checked(context, path, TextFormat(tokenizer, model.chat))


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
        return prompt[0]["content"]
    names = {"user": "Human", "assistant": "Assistant", "system": "System"}
    turns = [f"{names.get(turn['role'], turn['role'])}: {turn['content']}" for turn in prompt]
    return "\n\n".join([*turns, "Assistant:"])
