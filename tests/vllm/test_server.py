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

from rlhfkit.runner.runner import Runner
from rlhfkit.storage.run_dir import read_jsonl
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
