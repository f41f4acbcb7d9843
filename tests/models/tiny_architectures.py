"""A tiny configuration of every causal model of transformers that can be built without files."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

SHAPE = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
    "max_position_embeddings": 512,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "bos_token_id": 3,
}

SMALL: dict[str, Any] = {
    # attention
    "head_dim": 32, "global_head_dim": 32, "kv_channels": 32, "sliding_window": 64,
    "attention_window_size": 64, "rotary_dim": 16, "kv_lora_rank": 16, "q_lora_rank": 16,
    "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16, "index_n_heads": 2,
    "index_head_dim": 32, "index_topk": 8, "num_kv_shared_layers": 0,
    "swa_num_attention_heads": 2, "swa_num_key_value_heads": 2, "swa_head_dim": 32,
    "swa_v_head_dim": 32,
    # experts
    "n_routed_experts": 4, "num_experts": 4, "num_local_experts": 4, "moe_num_experts": 4,
    "num_experts_per_tok": 2, "num_experts_per_token": 2, "moe_k": 2, "moe_topk": 2,
    "moe_router_topk": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 32, "shared_intermediate_size": 32,
    "expert_ffn_hidden_size": 32, "ffn_hidden_size": 64, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "num_dense_layers": 1,
    # linear attention and state spaces
    "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16,
    "linear_value_head_dim": 16, "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 16,
    "mamba_n_groups": 1, "mamba_d_ssm": 128, "mamba_num_heads": 4, "mamba_head_dim": 32,
    "mamba_chunk_size": 8, "ssm_state_size": 16, "n_groups": 1, "state_size": 16,
    "num_heads": 2, "expand": 2, "lru_width": 64, "chunk_size": 8,
    # decoders of encoder-decoders
    "d_model": 64, "decoder_layers": 2, "encoder_layers": 1, "decoder_attention_heads": 2,
    "encoder_attention_heads": 2, "decoder_ffn_dim": 64, "encoder_ffn_dim": 64, "ffn_dim": 64,
    # Gemma's embeddings by layer
    "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 264,
}  # fmt: skip
"""Values for the options that a configuration has."""

_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
OWN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "cohere": {"logit_scale": 0.0625},
    "cohere2": {"logit_scale": 0.0625},
    "falcon_h1": {"lm_head_multiplier": 0.3},
    "gemma2": {"final_logit_softcapping": 3.0},
    "gemma3_text": {"final_logit_softcapping": 3.0},
    "granite": {"logits_scaling": 8.0},
    "granite_swa": {"logits_scaling": 8.0},
    "granitemoe": {"logits_scaling": 8.0},
    "granitemoeshared": {"logits_scaling": 8.0},
    "granitemoehybrid": {"logits_scaling": 8.0, "layer_types": ["mamba", "attention"]},
    "codegen": {"rotary_dim": 16, "num_attention_heads": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 4, "head_dim": 32},
    "zaya": {"num_experts_per_tok": 1},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "qwen3_5_moe_text": _HYBRID,
    "qwen3_5_text": _HYBRID,
    "qwen3_next": _HYBRID,
}
"""What makes a tiny model of its kind: scales and caps that are not 1, both kinds of layers."""


LARGEST = 5_000_000
"""Weights of a model that is still tiny."""


def buildable() -> tuple[list[str], list[str]]:
    """The architectures that a tiny model can be made of, and the others."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        found[_is_tiny(name)].append(name)
    return found[True], found[False]


def _is_tiny(name: str) -> bool:
    try:
        with torch.device("meta"):
            outline = AutoModelForCausalLM.from_config(config(name))
        if sum(parameter.numel() for parameter in outline.parameters()) >= LARGEST:
            return False
        with torch.no_grad():
            model(name)(input_ids=torch.tensor([[45, 46, 47]]), use_cache=False)
    except Exception:  # whatever a configuration that lacks a part makes of it
        return False
    return True


def config(name: str) -> PretrainedConfig:
    """The configuration of a `model_type`."""
    kind = CONFIG_MAPPING[name]
    known = {key for base in kind.__mro__ for key in getattr(base, "__annotations__", {})}
    small = {key: value for key, value in SMALL.items() if key in known}
    return kind(**{**SHAPE, **small, **OWN.get(name, {})})


def model(name: str) -> Any:
    """A model with random weights, the same each time."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config(name)).eval()
