"""Tiny random models of every architecture the adapters are tested with."""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from rlhfkit.testing import tiny

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 64,  # 4-bit kernels on CPU want widths that 32 divides
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "bos_token_id": 3,
}
GROUPED = {"num_key_value_heads": 1}
GEMMA = {
    "head_dim": 32,
    "vocab_size": 2000,
    "sliding_window": 4,  # shorter than the tests' prompts
    "layer_types": ["sliding_attention", "full_attention"],
}
ARCHITECTURES: dict[str, tuple[type[PretrainedConfig], dict[str, object]]] = {
    "llama": (LlamaConfig, {"tie_word_embeddings": True}),  # as SmolLM2
    "qwen2": (Qwen2Config, GROUPED),
    "qwen3": (Qwen3Config, {**GROUPED, "head_dim": 32}),
    "gemma3": (Gemma3TextConfig, {**GROUPED, **GEMMA}),
    "gemma3 with soft caps": (
        Gemma3TextConfig,
        {**GROUPED, **GEMMA, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0},
    ),
    "gpt2": (GPT2Config, {}),
    "gpt_neox": (GPTNeoXConfig, {}),
}


def write(path: Path, name: str) -> None:
    """Write a causal model of an architecture and its tokenizer."""
    torch.manual_seed(0)
    kind, options = ARCHITECTURES[name]
    model = AutoModelForCausalLM.from_config(kind(**{**SHAPE, **options}))
    model.save_pretrained(path)
    tiny.tokenizer(path, chat=True)
