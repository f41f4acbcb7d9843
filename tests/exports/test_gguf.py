"""A GGUF file gives the model's numbers and tokens where transformers reads it."""

import json
from types import SimpleNamespace

import gguf
import pytest
import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    GPT2Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from rlhfkit.data.ends import find_ends
from rlhfkit.data.text_format import TextFormat
from rlhfkit.errors import UserError
from rlhfkit.exports.gguf_file import _pre_tokenizer, _rope_factors, write_gguf
from rlhfkit.exports.ollama import modelfile
from tests.byte_tokenizer import SIZE, tokenizer

CHATML = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eot>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SHAPE = {
    "vocab_size": SIZE + 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "max_position_embeddings": 128,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}


def text_format(template=CHATML, **options):
    """As GPT-2's, with one merge."""
    made = tokenizer(template=template, **options)
    stored = json.loads(made.backend_tokenizer.to_str())
    stored["model"]["vocab"]["it"] = SIZE
    stored["model"]["merges"] = [["i", "t"]]
    stored["pre_tokenizer"]["use_regex"] = True
    made._tokenizer = Tokenizer.from_str(json.dumps(stored))
    return TextFormat(made, bool(template), find_ends(made, bool(template)))


def causal(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def read_back(folder):
    return AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file="model.gguf",
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    ).eval()


@torch.no_grad()
def logits(model):
    return model(torch.tensor([[7, 30, 100, 200, 4]])).logits[0]


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SHAPE, tie_word_embeddings=True),
        LlamaConfig(**SHAPE, tie_word_embeddings=False),
        Qwen2Config(**SHAPE),
        Qwen3Config(**SHAPE, head_dim=128),  # which transformers takes for granted
    ],
    ids=["llama, tied", "llama", "qwen2", "qwen3"],
)
def test_the_same_numbers(tmp_path, config):
    model = causal(config)
    expected = logits(model)
    for kind, tolerance in (("f32", 1e-5), ("f16", 0.003), ("q8_0", 0.05)):
        write_gguf(model, text_format(), "mine", kind, tmp_path / "model.gguf")
        found = logits(read_back(tmp_path))
        assert (found - expected).std() < tolerance * expected.std()


def test_the_same_tokens_and_ends(tmp_path):
    text = text_format()
    write_gguf(causal(LlamaConfig(**SHAPE)), text, "mine", "f16", tmp_path / "model.gguf")
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    for written in ("Grüße, it's 42!\n", "<user>a<eot>"):
        wanted = text.tokenizer(written, add_special_tokens=False).input_ids
        assert read(written, add_special_tokens=False).input_ids == wanted
    assert read.chat_template == CHATML
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 4  # <eot>, which was taught
    assert fields["tokenizer.ggml.eot_token_id"].contents() == 2
    assert fields["tokenizer.ggml.tokens"].contents()[-2:] == ["it", "[PAD264]"]


def test_llama_3_divides_its_rotary_frequencies():
    model = causal(LlamaConfig(**SHAPE, head_dim=16, rope_parameters=LLAMA_3))
    factors = _rope_factors(model)
    assert factors[0] == pytest.approx(1.0)  # the fastest are left alone
    assert factors[-1] == pytest.approx(8.0)  # the slowest are divided by the whole factor


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (GPT2Config(vocab_size=300, n_embd=8, n_layer=1, n_head=1), "gpt2 is not written here"),
        (LlamaConfig(**SHAPE, mlp_bias=True), "a llama with mlp_bias=true is not written"),
        (
            LlamaConfig(**SHAPE, rope_parameters=LINEAR),
            "a llama with rope_type=linear is not written",
        ),
    ],
)  # fmt: skip
def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path, config, says):
    with pytest.raises(UserError, match=says):
        write_gguf(SimpleNamespace(config=config), text_format(), "x", "f16", tmp_path / "x.gguf")


def described(*steps, kind="BPE"):
    made = Tokenizer.from_str(tokenizer().backend_tokenizer.to_str())
    made.pre_tokenizer = pre_tokenizers.Sequence(list(steps))
    return {**json.loads(made.to_str()), "model": {"type": kind}}


def test_how_llama_cpp_splits():
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+"
    rest = r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    bytes_, plain = (pre_tokenizers.ByteLevel(use_regex=found) for found in (True, False))
    digits = pre_tokenizers.Digits(individual_digits=True)
    split = {n: pre_tokenizers.Split(Regex(words % n + rest), "isolated") for n in ("{1,3}", "")}
    assert _pre_tokenizer(described(digits, bytes_)) == "smollm"
    assert _pre_tokenizer(described(split["{1,3}"], plain)) == "llama-bpe"
    assert _pre_tokenizer(described(split[""], plain)) == "qwen2"
    for steps, kind in (((plain,), "BPE"), ((bytes_,), "Unigram")):
        with pytest.raises(UserError, match="a tokenizer of the kind"):
            _pre_tokenizer(described(*steps, kind=kind))


def test_a_modelfile():
    assert modelfile("model.gguf", text_format(), 0.7) == (
        'FROM ./model.gguf\nTEMPLATE """{{ if .System }}<system>{{ .System }}<eot>\n{{ end }}'
        "{{ if .Prompt }}<user>{{ .Prompt }}<eot>\n{{ end }}<assistant>{{ .Response }}<eot>\n"
        '"""\nPARAMETER stop "<eot>"\nPARAMETER stop "<eos>"\nPARAMETER temperature 0.7\n'
    )


def test_a_bos_is_left_to_llama_cpp():
    written = modelfile("m", text_format("<bos>" + CHATML, bos=True), 1.0)
    assert 'TEMPLATE """{{ if .System }}<system>' in written


@pytest.mark.parametrize(
    "template",
    [
        None,
        CHATML.replace("<{{ m.role }}>", "{% if loop.last %}Now: {% endif %}<{{ m.role }}>"),
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML,
    ],
)
def test_a_template_that_is_no_sequence_of_turns_is_left_out(template):
    assert "TEMPLATE" not in modelfile("m", text_format(template), 1.0)
