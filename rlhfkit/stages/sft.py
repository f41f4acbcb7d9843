"""Stage sft: supervised fine-tuning on demonstrations, with TRL's SFTTrainer.

1. read demonstrations and render them  2. hold some out  3. mix pretraining texts in
4. train on completions only  5. save the model

Writes: model/, metrics.jsonl. Source: InstructGPT, sections 3.5 and C.1.
"""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import SequentialSampler
from trl import SFTConfig, SFTTrainer

from rlhfkit import data
from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.text import TextFormat, load_text_format
from rlhfkit.training import InParts, train, training_arguments
from rlhfkit.types import Demonstration

Tokens = dict[str, list[int]]
"""`input_ids`, and `completion_mask` with 1 where the loss is taken."""


def run(context: Context) -> None:
    """Train the SFT model."""
    config = context.config.stage.sft
    text = load_text_format(context)
    rows, held_out = _split(context, text)
    training = rows + _pretraining(context, text, len(rows))

    arguments = training_arguments(
        context,
        config,
        SFTConfig,
        completion_only_loss=True,
        max_length=None,
        eval_strategy="epoch" if held_out else "no",
    )
    model = context.build("loader").language_model(None, trainable=True)
    if config.gradient_checkpointing:
        model.checkpoint_activations()
    trainer = CompletionTrainer(
        model=model.model,
        args=arguments,
        train_dataset=Dataset.from_list(training),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=text.tokenizer,
    )
    for parameter in model.trainable_parameters():
        parameter.data = parameter.data.float()  # TRL's bfloat16 on 4-bit bases would round steps
    train(context, trainer)
    model.save(context.stage_dir / "model")


class CompletionTrainer(InParts, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer with this project's chunked log-probabilities; the loss is the same."""

    stage = "sft"

    def items(self, inputs: Mapping[str, Any]) -> Tensor:
        """The labelled tokens."""
        found: Tensor = (inputs["labels"][:, 1:] != -100).sum()
        return found

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Mean negative log-likelihood of the labelled tokens."""
        with self.accelerator.autocast():  # the trainer's own is on the model as a whole
            loss = completion_loss(LanguageModel(model), inputs, num_items_in_batch)
        return (loss, None) if return_outputs else loss

    def _get_eval_sampler(self, eval_dataset: Dataset) -> SequentialSampler:
        """The same batches at every evaluation, which transformers would draw anew."""
        return SequentialSampler(eval_dataset)

    @torch.no_grad()
    def prediction_step(
        self,
        model: Any,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, None, None]:
        """The validation loss, of which nothing else is asked."""
        inputs = self._prepare_inputs(inputs)
        count = self.items(inputs)
        loss = self.in_parts(
            inputs, lambda part: self.compute_loss(model, part, num_items_in_batch=count)
        )
        return loss, None, None


def completion_loss(
    model: LanguageModel, inputs: Mapping[str, Tensor], count: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood of the labelled tokens over `count`, by default their number.

    inputs: `input_ids`, `attention_mask` and `labels` [B, L], labels -100 where no loss is taken.
    """
    labels = inputs["labels"][:, 1:]
    wanted = labels != -100
    hidden = model.hidden_states(inputs["input_ids"], inputs["attention_mask"])
    logprobs, _ = model.token_logprobs(hidden[:, :-1][wanted], labels[wanted])
    return -logprobs.sum() / torch.as_tensor(wanted.sum() if count is None else count).clamp(min=1)


def _split(context: Context, text: TextFormat) -> tuple[list[Tokens], list[Tokens]]:
    """Demonstrations to train and to validate on: as the stage prepare split them, or at random."""
    demonstrations = data.demonstrations(context)
    if not demonstrations:
        raise UserError("stage sft needs demonstrations: give data.<source>.demonstrations")
    rows = _render(context, text, demonstrations)
    random.Random(context.config.seed).shuffle(rows)
    prepared = data.validation_demonstrations(context)
    if prepared:
        return rows, _render(context, text, prepared)
    held_out = int(len(rows) * context.config.stage.sft.validation_fraction)
    return rows[held_out:], rows[:held_out]


def _render(
    context: Context, text: TextFormat, demonstrations: list[Demonstration]
) -> list[Tokens]:
    """Demonstrations as tokens; those too long are dropped and counted."""
    kept, drops = [], Counter[str]()
    for demonstration in demonstrations:
        try:
            kept.append(_tokens(context, text, demonstration))
        except data.Unusable as error:
            drops[str(error)] += 1
    data.report_drops(context, "demonstrations", drops, len(demonstrations))
    if not kept:
        raise UserError("stage sft: every demonstration is too long; raise model.max_prompt_length")
    return kept


def _tokens(context: Context, text: TextFormat, demonstration: Demonstration) -> Tokens:
    prompt = text.prompt_ids(demonstration.prompt)
    completion = text.completion_ids(demonstration.completion)
    if len(prompt) > context.config.model.max_prompt_length:
        raise data.Unusable("longer than model.max_prompt_length")
    if len(completion) > context.config.stage.sft.max_completion_length:
        raise data.Unusable("longer than stage.sft.max_completion_length")
    return {
        "input_ids": prompt + completion,
        "completion_mask": [0] * len(prompt) + [1] * len(completion),
    }


def _pretraining(context: Context, text: TextFormat, demonstrations: int) -> list[Tokens]:
    """As many pretraining texts as make up the wanted share of the mix (section C.3)."""
    config = context.config.stage.sft
    share = config.pretraining_fraction
    if not 0 <= share < 1:
        raise UserError(f"stage.sft.pretraining_fraction={share}: must be at least 0 and below 1")
    wanted = round(demonstrations * share / (1 - share))
    if wanted == 0:
        return []
    texts = data.pretraining_texts(context)
    if not texts:
        raise UserError(
            "stage.sft.pretraining_fraction needs pretraining texts: give data.<source>.pretraining"
        )
    chosen = random.Random(context.config.seed).choices(texts, k=wanted)
    rows = [text.text_ids(item)[: config.pretraining_length] for item in chosen]
    return [{"input_ids": row, "completion_mask": [1] * len(row)} for row in rows]
