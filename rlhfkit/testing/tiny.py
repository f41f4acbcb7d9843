"""Tiny random models and tokenizers, written as transformers writes them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

WORDS = "what is the best colour red green blue I like you and it goes on fine".split()  # noqa: SIM905
SPECIAL = ["<unk>", "<pad>", "<eos>", "<user>", "<assistant>"]
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} <eos> {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer(path: Path, *, chat: bool, words: list[str] = WORDS, pad: str = "<pad>") -> None:
    """Write a tokenizer of one id a word, <unk> for others, read up to 32 tokens."""
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    made = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token=pad,
        eos_token="<eos>",
        additional_special_tokens=["<user>", "<assistant>"],
        chat_template=TEMPLATE if chat else None,
        model_max_length=32,
    ).save_pretrained(path)


def config(seed: int = 0, **options: Any) -> LlamaConfig:
    """Weights so large that every token matters; 64 ids, of which tokenizers use half."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.5,
        "max_position_embeddings": 64,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
    return LlamaConfig(**{**shape, **options})


def language_model(path: Path, *, chat: bool = True, seed: int = 0, **options: Any) -> None:
    """Write a causal model and its tokenizer."""
    LlamaForCausalLM(config(seed, **options)).save_pretrained(path)
    tokenizer(path, chat=chat)


def classifier(
    path: Path, *, chat: bool = True, pad: str = "<pad>", seed: int = 1, **options: Any
) -> None:
    """Write a sequence classifier, with one label unless told, and a tokenizer of its own whose
    ids differ from the language model's."""
    model = LlamaForSequenceClassification(config(seed, **{"num_labels": 1, **options}))
    model.save_pretrained(path)
    tokenizer(path, chat=chat, words=WORDS[::-1], pad=pad)
