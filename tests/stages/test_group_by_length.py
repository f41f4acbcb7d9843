"""Batches of like length: what is in them, seeded, and nothing lost."""

import pytest
from datasets import Dataset
from torch import nn
from transformers import LlamaForCausalLM, TrainingArguments
from trl import SFTConfig

from rlhfkit.data.text_format import load_text_format
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.stages.reward_model import RankingTrainer, _collate, _elements
from rlhfkit.stages.sft import CompletionTrainer
from rlhfkit.testing import tiny
from rlhfkit.trainers.trainer import training_arguments
from rlhfkit.types import Ranking

ROWS = [
    {"input_ids": [5] * length, "completion_mask": [0] + [1] * (length - 1)}
    for length in (3, 9, 4, 8, 3, 9, 4, 8, 3, 9, 4, 8, 3, 9, 4, 8)
] * 2


@pytest.fixture
def sft(make_context, tmp_path):
    """`sft(grouped)`: a trainer on `ROWS` with the stage's arguments."""

    def make(grouped):
        options = [
            f"stage.sft.group_by_length={grouped}",
            "stage.sft.per_device_train_batch_size=4",
        ]
        context = make_context(*options, stage="sft")
        tiny.tokenizer(tmp_path, chat=True)
        return CompletionTrainer(
            LanguageModel(LlamaForCausalLM(tiny.config())),
            args=training_arguments(context, context.config.stage.sft, SFTConfig, max_length=None),
            train_dataset=Dataset.from_list(ROWS),
            eval_dataset=Dataset.from_list(ROWS),
            processing_class=tiny.PreTrainedTokenizerFast.from_pretrained(tmp_path),
        )

    return make


def lengths(loader):
    return [sorted(batch["attention_mask"].sum(1).tolist()) for batch in loader]


def test_batches_are_of_like_length(sft):
    def padding(grouped):
        batches = [batch["attention_mask"] for batch in sft(grouped).get_train_dataloader()]
        assert sum(len(mask) for mask in batches) == len(ROWS)
        assert sum(int(mask.sum()) for mask in batches) == sum(len(r["input_ids"]) for r in ROWS)
        return sum(int((1 - mask).sum()) for mask in batches)

    assert padding(True) < 0.5 * padding(False)


def test_the_seed_decides_the_batches_and_epochs_differ(sft):
    first, second = (sft(True).get_train_dataloader() for _ in range(2))
    epochs = [lengths(first), lengths(first)]
    second = sft(True).get_train_dataloader()
    assert [lengths(second), lengths(second)] == epochs
    assert epochs[0] != epochs[1]


def test_every_evaluation_has_the_same_batches(sft):
    loader = sft(True).get_eval_dataloader()
    assert lengths(loader) == lengths(loader)


def test_rankings_are_grouped_by_all_their_tokens(make_context, tiny_overrides):
    size = "stage.reward_model.per_device_train_batch_size=4"
    context = make_context(*tiny_overrides, size, stage="reward_model")
    rankings = [
        Ranking([{"role": "user", "content": "red"}], ["it", "red " * words], [1, 2], [True, True])
        for words in (1, 30, 1, 30) * 8
    ]
    model = ScalarModel(LanguageModel(LlamaForCausalLM(tiny.config())), nn.Linear(16, 1))
    trainer = RankingTrainer(
        model,
        args=training_arguments(
            context,
            context.config.stage.reward_model,
            TrainingArguments,
            remove_unused_columns=False,
        ),
        train_dataset=_elements(context, load_text_format(context), rankings),
        data_collator=_collate,
    )
    mixed = 0
    for batch in trainer.get_train_dataloader():
        longest = [max(map(len, element.completions)) for element in batch["elements"]]
        mixed += len(set(longest)) > 1
    assert mixed <= 4, "one batch in each of the four groups that transformers sorts"
