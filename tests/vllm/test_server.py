"""sampler=server against a real vLLM on a CPU: `make test-vllm`.

The model is tiny; what is tried is that vLLM samples from this process's policy, adapters included,
and that every stage can ask it.
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import torch

from rlhfkit.runner.runner import Runner
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import server_process
from tests.plugins.loaders.conftest import perturb
from tests.vllm.environment import vllm_command

pytestmark = pytest.mark.vllm

STARTS_WITHIN = 300
"""Seconds."""

SETTINGS = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


@pytest.fixture(scope="module")
def server(tiny_files, tmp_path_factory):
    """Its address, with the tiny model served as `base`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    words = ["serve", str(tiny_files["model"]), "--served-model-name", "base"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    words += ["--enable-lora", "--max-lora-rank", "16", "--max-model-len", "64"]
    words += ["--max-num-seqs", "16", "--enforce-eager"]
    words += ["--logprobs-mode", "processed_logprobs"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [vllm_command(), *words], env=os.environ | SETTINGS, stdout=file, stderr=file
        )
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    ends = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < ends:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


@pytest.mark.parametrize("optimizer", ["ppo", "grpo"])
def test_every_stage_samples_from_the_server(
    plugins, make_raw, tiny_overrides, server, tmp_path, optimizer
):
    options = [
        *(item for item in tiny_overrides if not item.startswith("sampler.batch_size")),
        "sampler=server",
        f"sampler.url={server}",
        "sampler.model=base",
        f"sampler.adapter_dir={tmp_path / 'adapters'}",
        f"optimizer={optimizer}",
        "stages=[sft,sample,label,reward_model,rl,evaluate]",
    ]
    runner = Runner(make_raw(*options), plugins)
    runner.run()
    root = runner.run_dir.root
    rows = read_jsonl(root / "rl" / "metrics.jsonl")
    assert len(rows) == 2
    assert all(row["sampling/logprob_drift"] < 1e-4 for row in rows)
    assert all(row["response/distinct_share"] > 0 for row in rows)
    answers = read_jsonl(root / "sample" / "completions.jsonl")
    assert sum(len(row["completions"]) for row in answers) == 36
    metrics = json.loads((root / "evaluate" / "metrics.json").read_text())
    assert {"base", "sft", "rl"} <= metrics.keys()


def test_a_server_of_our_own_has_the_merged_models_likeliest_tokens(
    make_context, tiny_files, tmp_path, monkeypatch
):
    """Started by the sampler, for an SFT adapter that the loader adds into its base."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    context = make_context(
        f"model.path={tiny_files['model']}",
        "model.max_prompt_length=32",
        "loader=lora",
        "sampler=server",
        "sampler.launch=true",
        f"sampler.command=[{vllm_command()}]",
        "sampler.arguments=[--enforce-eager,--max-num-seqs,16]",
        "sampler.response_length=12",
        "sampler.temperature=0.01",
    )
    loader = context.build("loader")
    sft = loader.language_model(None, trainable=True)
    perturb(sft.trainable_parameters(), 1, scale=0.3)
    sft.save(tmp_path / "sft")
    merged, base = loader.language_model(str(tmp_path / "sft")), loader.language_model(None)
    prompts, generator = [[5, 6, 7], [8], [9, 10, 11, 12, 13]], torch.Generator().manual_seed(0)
    try:
        server = context.build("sampler")
        of_merged = server.sample(merged, prompts, Ends((2,)), generator)
        of_base = server.sample(base, prompts, Ends((2,)), generator)
    finally:
        server_process.stop()
    assert _short_of_likeliest(merged, prompts, of_merged) < 0.2
    assert _short_of_likeliest(base, prompts, of_base) < 0.2
    assert _short_of_likeliest(merged, prompts, of_base) > 0.5
    assert _short_of_likeliest(base, prompts, of_merged) > 0.5


@torch.no_grad()
def _short_of_likeliest(model, prompts, responses):
    """The most nats, at temperature 1, by which a token was less likely than the likeliest one. At
    temperature 0.01 a token that is 0.2 short is drawn once in 10^8 times, a near tie often."""
    short = []
    for prompt, response in zip(prompts, responses, strict=True):
        logits = model.model(input_ids=torch.tensor([prompt + response.ids])).logits[0].float()
        logits = logits[len(prompt) - 1 : -1]
        chosen = logits.gather(1, torch.tensor(response.ids)[:, None])[:, 0]
        short.append((logits.max(-1).values - chosen).max().item())
    return max(short)
