"""The decoding benchmark runs and counts what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, Path(__file__).parents[2] / "benchmarks" / "decode.py"]
TINY = ("--shape", "tiny", "--batch", "4", "--completions", "2", "--prompt", "6")


def test_every_variant_is_measured(tmp_path):
    sizes = (*TINY, "--response", "3", "--repetitions", "2", "--threads", "1")
    done = subprocess.run(
        [*COMMAND, *sizes, "--out", tmp_path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "decode.json").read_text())
    assert [row["variant"] for row in result["rows"]] == [
        "sampler=cached",
        "share_prompts=false",
        "merge_adapters=false",
        "sampler=generate",
        "transformers' generate",
    ]
    for row in result["rows"]:
        assert len(row["seconds"]) == 2
        rates = sorted(4 * 3 / seconds for seconds in row["seconds"])
        assert row["tokens_per_second"] == pytest.approx(rates)
        assert min(row["flop_per_second"], row["weight_bytes_per_second"]) > 0
        assert row["variant"] in done.stdout
    assert min(result["limits"].values()) > 0
    assert result["hardware"]["threads"] == result["settings"]["threads"] == 1


def test_completions_divide_the_batch():
    done = subprocess.run([*COMMAND, *TINY, "--completions", "3"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "multiple of --completions" in done.stderr
