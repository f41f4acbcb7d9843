"""Model directories that something is wrong with: copies of a good one, each with one change."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"
Change = Callable[[Path], object]


@dataclass(frozen=True)
class Model:
    """What happens to a copy of a good directory, and what the line says."""

    id: str
    change: Change
    says: str = "cannot be loaded"


def remove(*names: str) -> Change:
    return lambda path: [(path / name).unlink(missing_ok=True) for name in names]


def write(name: str, content: str | bytes) -> Change:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda path: (path / name).write_bytes(data)


def cut(name: str, keep: int) -> Change:
    """Bytes from the start, or all but so many from the end."""
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:keep])


def folder(name: str) -> Change:
    def change(path: Path) -> None:
        (path / name).unlink()
        (path / name).mkdir()

    return change


def edit(name: str, **changes: Any) -> Change:
    """Keys of a JSON file; `...` takes one out."""

    def change(path: Path) -> None:
        stored = {**json.loads((path / name).read_text()), **changes}
        kept = {key: value for key, value in stored.items() if value is not ...}
        (path / name).write_text(json.dumps(kept))

    return change


def tensors(name: str, of: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Another set of tensors in a safetensors file."""

    def change(path: Path) -> None:
        save_file(of(load_file(path / name)), path / name, metadata={"format": "pt"})

    return change


def lacking(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {key: value for key, value in found.items() if part not in key}


def _indexed(content: str) -> Change:
    def change(path: Path) -> None:
        (path / WEIGHTS).unlink()
        (path / "model.safetensors.index.json").write_text(content)

    return change


def _pickled(path: Path) -> None:
    (path / WEIGHTS).unlink()
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(Vfalse\ntR.")


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"
NO_WEIGHTS = "has no weights as safetensors, and pickled ones (.bin) can run code"
OTHER_SHAPE = "weights of another shape than config.json says"


def _config(**changes: Any) -> Change:
    return edit("config.json", **changes)


CONFIGS = [
    Model("config: gone", remove("config.json")),
    Model("config: empty", write("config.json", "")),
    Model("config: cut", cut("config.json", 99)),
    Model("config: a list", write("config.json", "[]")),
    Model("config: null", write("config.json", "null")),
    Model("config: not UTF-8", write("config.json", b"\xff\xfe{}")),
    Model("config: a folder", folder("config.json")),
    Model("config: nested too deep", write("config.json", '{"a":' * 100_000)),
    Model("config: an unknown architecture", _config(model_type="llamma")),
    Model("config: no architecture", _config(model_type=...)),
    Model("config: an architecture that is a number", _config(model_type=7)),
    Model("config: an encoder and decoder", _config(model_type="t5")),
    Model("config: its own code", _config(model_type="own", auto_map={"AutoConfig": "x.Y"}),
          "brings code of its own"),
    Model("config: a width of text", _config(hidden_size="wide")),
    Model("config: a width below 0", _config(hidden_size=-64)),
    Model("config: another width", _config(hidden_size=128), OTHER_SHAPE),
    Model("config: heads that do not divide", _config(num_attention_heads=3)),
    Model("config: no heads", _config(num_attention_heads=0)),
    Model("config: more layers", _config(num_hidden_layers=5), "its weights lack model.layers.2"),
    Model("config: fewer tokens", _config(vocab_size=8), OTHER_SHAPE),
    Model("config: tokens of text", _config(vocab_size="many")),
    Model("config: an unknown activation", _config(hidden_act="wiggle")),
    Model("config: unknown positions", _config(rope_scaling={"type": "wild"})),
]  # fmt: skip

STORED = [
    Model("weights: gone", remove(WEIGHTS), NO_WEIGHTS),
    Model("weights: empty", write(WEIGHTS, "")),
    Model("weights: cut at the end", cut(WEIGHTS, -100)),
    Model("weights: cut in the middle", cut(WEIGHTS, 9000)),
    Model("weights: cut in the head", cut(WEIGHTS, 50)),
    Model("weights: zeros", write(WEIGHTS, bytes(1000))),
    Model("weights: a git-lfs pointer", write(WEIGHTS, LFS)),
    Model("weights: a head of 2^64 bytes", write(WEIGHTS, b"\xff" * 8 + b"{}")),
    Model("weights: a folder", folder(WEIGHTS), NO_WEIGHTS),
    Model("weights: a pickle", _pickled, NO_WEIGHTS),
    Model("weights: a shard that is gone",
          _indexed('{"metadata": {}, "weight_map": {"lm_head.weight": "gone.safetensors"}}')),
    Model("weights: an index of nothing", _indexed("{}")),
    Model("weights: an index that is cut", _indexed("{")),
    Model("weights: a tensor short", tensors(WEIGHTS, lacking("1.mlp.up_proj")),
          "its weights lack model.layers.1.mlp.up_proj.weight"),
    Model("weights: a layer short", tensors(WEIGHTS, lacking("layers.1.")), "and 6 more"),
    Model("weights: no embeddings", tensors(WEIGHTS, lacking("embed")), "lack model.embed_tokens"),
    Model("weights: no LM head", tensors(WEIGHTS, lacking("lm_head")), "lack lm_head.weight"),
    Model("weights: other names",
          tensors(WEIGHTS, lambda found: {f"x.{key}": value for key, value in found.items()}),
          "its weights lack"),
    Model("weights: another shape",
          tensors(WEIGHTS, lambda found: {**found, "model.norm.weight": torch.ones(3)}),
          f"{OTHER_SHAPE}: model.norm.weight"),
]  # fmt: skip

TOKENIZER, TOKENS, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
GENERATION = "generation_config.json"
RENDER = "cannot render 'Hello 4711'"


def _template(text: str | bytes) -> Change:
    return write(TEMPLATE, text)


TOKENIZERS = [
    Model("tokenizer: gone", remove(TOKENIZER)),
    Model("tokenizer: all of it gone", remove(TOKENIZER, TOKENS)),
    Model("tokenizer: empty", write(TOKENIZER, "")),
    Model("tokenizer: a list", write(TOKENIZER, "[]")),
    Model("tokenizer: cut", cut(TOKENIZER, 200)),
    Model("tokenizer: not UTF-8", write(TOKENIZER, b"\xff\xfe")),
    Model("tokenizer: of an unknown kind", edit(TOKENIZER, model={"type": "Magic"})),
    Model("tokenizer: of no kind", edit(TOKENIZER, model=...)),
    Model("tokenizer: options empty", write(TOKENS, "")),
    Model("tokenizer: options cut", write(TOKENS, "{")),
    Model("tokenizer: options a list", write(TOKENS, "[]")),
    Model("tokenizer: a class that is a number", edit(TOKENS, tokenizer_class=7)),
    Model("tokenizer: no EOS", edit(TOKENS, eos_token=...), "the tokenizer has no EOS token"),
    Model("tokenizer: EOS is null", edit(TOKENS, eos_token=None), "the tokenizer has no EOS token"),
    Model("generation_config: cut", write(GENERATION, '{"eos_token_id": [2')),
    Model("generation_config: ends of text", write(GENERATION, '{"eos_token_id": "<eos>"}'),
          "is no token id"),
    Model("tokenizer: EOS is a number", edit(TOKENS, eos_token=2)),
    Model("tokenizer: EOS is a list", edit(TOKENS, eos_token=["<eos>"])),
    Model("tokenizer: EOS beyond the model",
          lambda path: (edit(TOKENS, eos_token="<stop>")(path), _config(vocab_size=21)(path)),
          "its EOS token is 21, but the model knows 21 tokens"),
    Model("tokenizer: more tokens than the model", _config(vocab_size=8),
          "but the model knows 8 tokens: they do not belong together"),
    Model("template: gone", remove(TEMPLATE), "has no chat template"),
    Model("template: empty", _template(""), "has no chat template"),
    Model("template: not UTF-8", _template(b"\xff")),
    Model("template: not closed", _template("{% for m in messages %}{{ m.content }}"), RENDER),
    Model("template: a message too far", _template("{{ messages[9].content }}"), RENDER),
    Model("template: refuses", _template("{{ raise_exception('no system') }}"), "no system"),
    Model("template: an unknown function", _template("{{ nothing() }}"), RENDER),
    Model("template: an unknown filter", _template("{{ messages | magic }}"), RENDER),
    Model("template: a way out", _template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
          RENDER),
    Model("template: an endless loop", _template("{% for i in range(10**9) %}x{% endfor %}"),
          RENDER),
    Model("template: by zero", _template("{{ 1 / 0 }}"), RENDER),
    Model("template: another file", _template("{% include 'x' %}"), RENDER),
    Model("template: a constant", _template("Hello? No.")  , "leaves out what the user says"),
    Model("template: roles only", _template("{% for m in messages %}{{ m.role }}{% endfor %}"),
          "leaves out what the user says"),
]  # fmt: skip

ADAPTER_CONFIG = "adapter_config.json"
ADAPTERS = [
    Model("adapter: config empty", write(ADAPTER_CONFIG, "")),
    Model("adapter: config cut", cut(ADAPTER_CONFIG, 99)),
    Model("adapter: config a list", write(ADAPTER_CONFIG, "[]")),
    Model("adapter: config not UTF-8", write(ADAPTER_CONFIG, b"\xff")),
    Model("adapter: of no base", edit(ADAPTER_CONFIG, base_model_name_or_path=...),
          "an adapter for None, but model.path="),
    Model("adapter: of another base", edit(ADAPTER_CONFIG, base_model_name_or_path="other"),
          "an adapter for other, but model.path="),
    Model("adapter: of no kind", edit(ADAPTER_CONFIG, peft_type=...)),
    Model("adapter: of an unknown kind", edit(ADAPTER_CONFIG, peft_type="MAGIC")),
    Model("adapter: of another kind", edit(ADAPTER_CONFIG, peft_type="PROMPT_TUNING"),
          "a PROMPT_TUNING adapter puts tokens of its own before every text"),
    Model("adapter: another rank", edit(ADAPTER_CONFIG, r=8), "the adapter does not fit"),
    Model("adapter: rank 0", edit(ADAPTER_CONFIG, r=0)),
    Model("adapter: a rank of text", edit(ADAPTER_CONFIG, r="four")),
    Model("adapter: modules that are not there", edit(ADAPTER_CONFIG, target_modules=["x_proj"])),
    Model("adapter: fewer modules", edit(ADAPTER_CONFIG, target_modules=["q_proj"]),
          "the adapter does not fit"),
    Model("adapter: weights gone", remove(ADAPTER), "has no adapter_model.safetensors"),
    Model("adapter: weights empty", write(ADAPTER, "")),
    Model("adapter: weights cut", cut(ADAPTER, -10)),
    Model("adapter: weights a git-lfs pointer", write(ADAPTER, LFS)),
    Model("adapter: a tensor short", tensors(ADAPTER, lacking("layers.1.mlp.up_proj.lora_A")),
          "the adapter does not fit"),
    Model("adapter: a layer short", tensors(ADAPTER, lacking("layers.0.")),
          "the adapter does not fit"),
    Model("adapter: no tensors", tensors(ADAPTER, lambda found: {}), "the adapter does not fit"),
]  # fmt: skip

HEAD = "head.safetensors"
HEADS = [
    Model("head: empty", write(HEAD, "")),
    Model("head: cut", cut(HEAD, -4)),
    Model("head: zeros", write(HEAD, bytes(99))),
    Model("head: a folder", folder(HEAD)),
    Model("head: no bias", tensors(HEAD, lacking("bias"))),
    Model("head: no tensors", tensors(HEAD, lambda found: {})),
    Model("head: without digest", tensors(HEAD, lambda found: found), "digest differs"),
    Model("head: another's weight", tensors(HEAD, lambda f: {**f, "weight": torch.ones(1, 3)}),
          "digest differs"),
]  # fmt: skip

CLASSIFIERS = [
    Model(f"classifier: {case.id}", case.change, says)
    for case, says in [
        *((case, case.says) for case in CONFIGS[:10]),
        *((case, case.says) for case in STORED[:8]),
        *((case, "cannot be loaded") for case in TOKENIZERS if case.says == RENDER),
    ]
] + [
    Model("classifier: no score", tensors(WEIGHTS, lacking("score")), "lack score.weight"),
    Model("classifier: two labels", _config(num_labels=2), "2 labels, but a reward model has one"),
    Model("classifier: another shape",
          tensors(WEIGHTS, lambda found: {**found, "model.norm.weight": torch.ones(3)}),
          OTHER_SHAPE),
    Model("classifier: fewer tokens than its tokenizer has",
          lambda path: (_config(vocab_size=4)(path), tensors(WEIGHTS, lambda found: {
              **found, "model.embed_tokens.weight": found["model.embed_tokens.weight"][:4].clone(),
          })(path)),
          "but the reward model knows 4 tokens"),
]  # fmt: skip
