"""Seconds that a command takes which trains nothing.

    python benchmarks/startup.py [--repetitions 5] [--out DIR]

A tiny model of random weights is trained once in a temporary folder; then `--help`, `plugins`,
`stages`, `plan` and that same run, now skipped, take turns, each in a process of its own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hardware import header
from memory_setup import SHAPES
from parsers import parse_repeated
from rich.box import SIMPLE
from rich.table import Column, Table
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from rlhfkit.console import console

WORDS = ("<eos>", "what", "is", "best", "red", "green")
ROW = {"prompt": "what is best", "completion": "red is best"}


def main() -> int:
    """The exit status."""
    options = parse_repeated(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        settings = _write_run(Path(folder))
        _run(["run", *settings])
        seconds = measure(commands(settings), options.repetitions)
    result = {
        "hardware": header("cpu", seed=0),
        "settings": {"repetitions": options.repetitions, "cores": os.cpu_count()},
        "seconds": seconds,
    }
    console.print(table(seconds))
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "startup.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(f"written: {file}", soft_wrap=True)
    return 0


def commands(settings: list[str]) -> dict[str, list[str]]:
    """Arguments of `rlhfkit` by the name in the table."""
    return {
        "--help": ["--help"],
        "plugins": ["plugins"],
        "stages": ["stages", *settings],
        "plan": ["plan", *settings],
        "skipped run": ["run", *settings],
    }


def measure(arguments: dict[str, list[str]], repetitions: int) -> dict[str, list[float]]:
    """Seconds by command, one number a repetition; the first, which warms up, comes on top."""
    seconds: dict[str, list[float]] = {name: [] for name in arguments}
    for _ in range(repetitions + 1):
        for name, words in arguments.items():
            started = time.perf_counter()
            _run(words)
            seconds[name].append(round(time.perf_counter() - started, 3))
    return seconds


def table(seconds: dict[str, list[float]]) -> Table:
    """Median and range without the first repetition."""
    columns = (
        Column("rlhfkit"),
        *(Column(name, justify="right") for name in ("median s", "range")),
    )
    made = Table(*columns, box=SIMPLE)
    for name, (_, *rest) in seconds.items():
        made.add_row(name, f"{statistics.median(rest):.2f}", f"{min(rest):.2f} - {max(rest):.2f}")
    return made


def _write_run(folder: Path) -> list[str]:
    """Write a model, its tokenizer and demonstrations; gives the settings of a run on them."""
    shape = dict(SHAPES["tiny"])
    config = AutoConfig.for_model(shape.pop("model_type"), **shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<eos>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<eos>", pad_token="<eos>", eos_token="<eos>"
    ).save_pretrained(folder / "model")
    (folder / "demonstrations.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return [
        f"model.path={folder / 'model'}",
        "model.chat=false",
        "data=[files]",
        f"data.files.demonstrations={folder / 'demonstrations.jsonl'}",
        "stages=[sft]",
        "run_name=startup",
        f"run_dir={folder / 'run'}",
    ]


def _run(arguments: list[str]) -> None:
    """The command in a process of its own, without the network; raises where it fails."""
    subprocess.run(
        [sys.executable, "-m", "rlhfkit", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


if __name__ == "__main__":
    sys.exit(main())
