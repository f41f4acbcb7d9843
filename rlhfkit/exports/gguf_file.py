"""A causal model as one GGUF file, which llama.cpp, Ollama and LM Studio run.

Written by the `gguf` package of llama.cpp: its names for tensors, its quantisation.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from torch import Tensor

from rlhfkit.data.text_format import TextFormat
from rlhfkit.errors import UserError

logging.getLogger("gguf").setLevel(logging.WARNING)  # it tells of every step

TYPES = {
    "f32": (GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""llama.cpp's name of a model type, for those whose tensors it takes as they are but for the order
of a head's rotary dimensions."""

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    _WORDS + r"\p{N}{1,3}" + _REST: "llama-bpe",
    _WORDS + r"\p{N}" + _REST: "qwen2",
}
"""llama.cpp's names of the expressions by which tokenizers take texts apart."""


def write_gguf(model: Any, text: TextFormat, name: str, kind: str, file: Path) -> None:
    """Write a model and its tokenizer. name: what the file says that it is. kind: of `TYPES`.

    Raises `UserError` for what llama.cpp would compute or split in another way.
    """
    config = model.config
    architecture = _architecture(config)
    writer = GGUFWriter(file, architecture)
    writer.add_name(name)
    writer.add_file_type(TYPES[kind][1])
    _add_shape(writer, config)
    _add_tokenizer(writer, text, config.vocab_size)
    for tensor_name, tensor in _tensors(model, architecture):
        _add_tensor(writer, tensor_name, tensor, TYPES[kind][0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _architecture(config: Any) -> str:
    found = _ARCHITECTURES.get(config.model_type)
    if found is None:
        raise UserError(
            f"export.gguf: {config.model_type} is not written here, only "
            f"{', '.join(_ARCHITECTURES)}; export with export.merged=true and use llama.cpp's "
            f"convert_hf_to_gguf.py"
        )
    rope = config.rope_parameters["rope_type"]
    odd = {
        f"rope_type={rope}": rope not in ("default", "llama3"),
        "mlp_bias=true": getattr(config, "mlp_bias", False),
        "sliding_window": _slides(config),
        f"hidden_act={config.hidden_act}": config.hidden_act != "silu",
    }
    for option, is_odd in odd.items():
        if is_odd:
            raise UserError(f"export.gguf: a {config.model_type} with {option} is not written here")
    return found


def _slides(config: Any) -> bool:
    """Whether some layer sees less than the whole text."""
    types = getattr(config, "layer_types", None) or []
    window = getattr(config, "sliding_window", None) if config.model_type == "mistral" else None
    return "sliding_attention" in types or window is not None


def _add_shape(writer: GGUFWriter, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_vocab_size(config.vocab_size)


def _tensors(model: Any, architecture: str) -> Iterator[tuple[str, Tensor]]:
    """All weights by llama.cpp's names, and what scales its rotary frequencies."""
    config = model.config
    number = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise UserError(f"export.gguf: llama.cpp has no name for the weight {name}")
        layer = name.split(".")[-2]
        if architecture == "llama" and layer in heads:
            tensor = _interleaved(tensor, heads[layer])
        yield found, tensor
    if config.rope_parameters["rope_type"] == "llama3":
        yield "rope_freqs.weight", _rope_factors(model)


def _interleaved(tensor: Tensor, heads: int) -> Tensor:
    """Rows of a head in llama.cpp's order: a rotary pair next to each other, not half a head
    apart."""
    split = tensor.reshape(heads, 2, -1, *tensor.shape[1:])
    return split.swapaxes(1, 2).reshape(tensor.shape)


def _rope_factors(model: Any) -> Tensor:
    """By what each rotary frequency is divided."""
    used = model.model.rotary_emb.inv_freq.double().cpu()
    powers = torch.arange(len(used), dtype=torch.float64) / len(used)
    plain = model.config.rope_parameters["rope_theta"] ** -powers
    factors: Tensor = (plain / used).float()
    return factors


def _add_tensor(writer: GGUFWriter, name: str, tensor: Tensor, kind: GGMLQuantizationType) -> None:
    """Vectors stay in float32, and rows that are no whole number of blocks in float16."""
    values: np.ndarray[Any, Any] = tensor.detach().float().cpu().contiguous().numpy()
    if values.ndim == 1:
        kind = GGMLQuantizationType.F32
    elif values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = GGMLQuantizationType.F16
    writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)


def _add_tokenizer(writer: GGUFWriter, text: TextFormat, size: int) -> None:
    """Tokens, merges, ends and chat template. size: how many tokens the model knows."""
    tokenizer = text.tokenizer
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(described))
    known = {place: token for token, place in tokenizer.get_vocab().items()}
    tokens = [known.get(place, f"[PAD{place}]") for place in range(size)]
    added = {item["id"]: item["special"] for item in described["added_tokens"]}
    kinds = [_kind(place, known, added) for place in range(size)]
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = described["model"]["merges"]
    writer.add_token_merges([item if isinstance(item, str) else " ".join(item) for item in merges])
    writer.add_eos_token_id(text.ends.taught)
    for other in text.ends.ids[1:2]:
        writer.add_eot_token_id(other)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id])
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    if text.chat:
        writer.add_chat_template(tokenizer.get_chat_template())


def _kind(place: int, known: dict[int, str], added: dict[int, bool]) -> TokenType:
    if place not in known:
        return TokenType.UNUSED
    if place not in added:
        return TokenType.NORMAL
    return TokenType.CONTROL if added[place] else TokenType.USER_DEFINED


def _pre_tokenizer(described: dict[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer takes a text apart before it merges bytes."""
    kind, first = described["model"]["type"], described["pre_tokenizer"] or {}
    steps = first.get("pretokenizers", [first])
    names = [step.get("type") for step in steps]
    if kind == "BPE" and names[-1:] == ["ByteLevel"]:
        by_regex = steps[-1].get("use_regex", True)
        if names == ["ByteLevel"] and by_regex:
            return "gpt-2"
        if names == ["Digits", "ByteLevel"] and by_regex and steps[0]["individual_digits"]:
            return "smollm"
        pattern = steps[0].get("pattern", {}).get("Regex")
        if names == ["Split", "ByteLevel"] and not by_regex and pattern in _SPLITS:
            return _SPLITS[pattern]
    raise UserError(
        f"export.gguf: a tokenizer of the kind {kind} with {', '.join(map(str, names))} is not one "
        f"that is written here (GPT-2's, SmolLM's, Llama 3's, Qwen's); export with "
        f"export.merged=true and use llama.cpp's convert_hf_to_gguf.py"
    )
