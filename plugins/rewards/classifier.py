"""Any sequence classifier with one label as a reward function, with its own tokenizer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhfkit.context import Context
from rlhfkit.data.chat_template import CannotRender, render
from rlhfkit.data.text_format import plain_text
from rlhfkit.errors import UserError
from rlhfkit.models.batch import pad_right
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.loading import check_whole, load_pretrained, loading
from rlhfkit.types import Messages


class ClassifierReward:
    """Renders the conversation for the classifier and reads its one logit."""

    def __init__(self, model: Any, tokenizer: Any, batch_size: int, template_date: str) -> None:
        self._model, self._tokenizer, self._date = model, tokenizer, template_date
        self._batch_size = AdaptiveBatchSize("classifier scores", batch_size)
        self._text_config = model.config.get_text_config()
        tokenizer.truncation_side = "left"  # the answer stands at the end

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: object
    ) -> list[float]:
        rows = [self._ids(*pair) for pair in zip(prompts, completions, strict=True)]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        scores = [0.0] * len(rows)

        def of(chosen: Sequence[int]) -> list[float]:
            found: list[float] = self._scores([rows[index] for index in chosen]).tolist()
            return found

        for chosen, found in self._batch_size.map(order, of):  # of like length: little padding
            for index, score in zip(chosen, found, strict=True):
                scores[index] = score
        return scores

    def _ids(self, prompt: Messages, completion: str) -> list[int]:
        chat = bool(self._tokenizer.chat_template)
        text = f"{plain_text(prompt)} {completion}"
        if chat:
            turns = [*prompt, {"role": "assistant", "content": completion}]
            text = render(self._tokenizer, turns, self._date, {})
        encoded = self._tokenizer(
            text, add_special_tokens=not chat, truncation=True, max_length=self._max_length
        )
        ids: list[int] = encoded.input_ids
        return ids

    @property
    def _max_length(self) -> int:
        """Tokens that both the tokenizer and the position embeddings allow."""
        positions = getattr(self._text_config, "max_position_embeddings", None)
        limit: int = self._tokenizer.model_max_length
        return min(limit, positions) if positions and positions > 0 else limit

    @torch.no_grad()
    def _scores(self, rows: list[list[int]]) -> Tensor:
        """[B] logits of token ids.

        transformers reads the logit at the last token that is not the pad token. The pad token may
        be one that texts end with, so padding is done with a token that none of the rows has.
        """
        used = set().union(*rows)
        vocabulary: int = self._model.get_input_embeddings().num_embeddings
        if max(used) >= vocabulary:
            raise UserError(
                f"{self._tokenizer.name_or_path}: the tokenizer has token {max(used)}, but the "
                f"reward model knows {vocabulary} tokens: they do not belong together"
            )
        pad = next(token for token in range(vocabulary) if token not in used)
        self._text_config.pad_token_id = pad
        mask = pad_right([[1] * len(row) for row in rows])
        device = self._model.device
        output = self._model(pad_right(rows, pad).to(device), attention_mask=mask.to(device))
        logits: Tensor = output.logits.squeeze(-1).float()
        return logits + getattr(self._model.config, "score_bias", 0.0)  # of `rlhfkit export`


def load_classifier(
    context: Context, path: str, batch_size: int, trust_remote_code: bool = False
) -> ClassifierReward:
    """The classifier of a directory or hub name; `UserError` unless it gives one number and its
    head is stored with it."""
    shared: dict[str, Any] = {"what": "reward model", "trust": trust_remote_code}
    tokenizer = load_pretrained(AutoTokenizer, context, path, **shared)
    model, info = load_pretrained(
        AutoModelForSequenceClassification,
        context,
        path,
        dtype=context.precision.weights,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **shared,
    )
    if model.config.num_labels != 1:
        raise UserError(f"{path}: {model.config.num_labels} labels, but a reward model has one")
    check_whole(path, info)
    with loading(f"reward model '{path}'"):  # a template may fail, and that before any training
        date = context.config.model.template_date
        reward = ClassifierReward(model.eval().to(context.device), tokenizer, batch_size, date)
        try:
            reward([[{"role": "user", "content": "Hello"}]], ["Hello"])
        except CannotRender as error:
            raise ValueError(error.reason) from error
    return reward
