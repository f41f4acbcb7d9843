"""PPO by rlhfkit, one process: `python rlhfkit_ppo.py SETTINGS.json RESULT.json`.

`ppo_vs_trl.py` starts it. What the settings and the result hold is said in `ppo_workload.py`.
"""

import json
import resource
import sys
import tempfile
import time
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from parsers import parser_of
from ppo_workload import Choice, Result, Settings, quickstart

from rlhfkit.context import Context
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.online.loop import OnlineOptimizer
from rlhfkit.types import Ends

CUDA = torch.cuda.is_available()


def main() -> None:
    """Train and write what it took."""
    parser = parser_of(__doc__)
    parser.add_argument("settings", type=Path, help="the JSON file to read")
    parser.add_argument("result", type=Path, help="the JSON file to write")
    options = parser.parse_args()
    settings = json.loads(options.settings.read_text(encoding="utf-8"))
    before = _resident()
    with tempfile.TemporaryDirectory() as folder:
        rounds = _train(settings, _context(settings, Path(folder)))
    ended_at, scores, tokens = zip(*rounds, strict=True)
    result = Result(
        ended_at=ended_at,
        scores=scores,
        tokens=tokens,
        peak_bytes=torch.cuda.max_memory_allocated() if CUDA else _resident(),
        before_bytes=0 if CUDA else before,
        threads=torch.get_num_threads(),
        versions={name: version(name) for name in ("torch", "transformers", "peft", "rlhfkit")},
    )
    options.result.write_text(json.dumps(result), encoding="utf-8")


def _train(settings: Settings, context: Context) -> list[tuple[float, float, int]]:
    """Time, mean score and tokens of every iteration."""
    optimizer = _optimizer(settings, context)
    size, rounds = settings["batch_size"], []
    for start in range(0, len(settings["prompts"]), size):
        rollout = optimizer.collect(settings["prompts"][start : start + size])
        optimizer.step(rollout)
        optimizer.kl.update(float(rollout.kl.sum(1).mean()), size)
        score, tokens = float(rollout.scores.mean()), int(rollout.response_mask.sum())
        rounds.append((time.perf_counter(), score, tokens))
    return rounds


def _optimizer(settings: Settings, context: Context) -> OnlineOptimizer:
    """Ready to collect and step."""
    optimizer: OnlineOptimizer = context.build("optimizer")
    optimizer.text = text_format(context, settings["natural_ends"])
    roles = context.build("loader").roles(None, settings["reward_model"])
    optimizer.prepare(context, roles)
    return optimizer


def text_format(context: Context, natural_ends: bool) -> TextFormat:
    """The quickstart's chat, or bare texts whose answers go on to the limit."""
    text = load_text_format(context)
    return text if natural_ends else TextFormat(text.tokenizer, chat=False, ends=Ends((-1,)))


def _context(settings: dict[str, Any], folder: Path) -> Context:
    choice = Choice(**{item.name: settings[item.name] for item in fields(Choice)})
    last = settings["lora_last_layers"]
    options = (
        f"seed={settings['seed']}",
        f"loader.lora_last_layers={'null' if last is None else last}",
        f"sampler.response_length={choice.response_length}",
        f"sampler.batch_size={choice.micro_batch_size}",
        f"reward.reward_model.batch_size={choice.micro_batch_size}",
        f"stage.rl.batch_size={choice.batch_size}",
        f"stage.rl.micro_batch_size={choice.micro_batch_size}",
        "stage.rl.missing_eos_penalty=0",
        "kl=fixed",
        f"kl.kl_coef={choice.kl_coef}",
        f"optimizer.learning_rate={choice.learning_rate}",
        f"optimizer.value_learning_rate={choice.learning_rate}",
        f"optimizer.num_ppo_epochs={choice.num_ppo_epochs}",
        "optimizer.num_mini_batches=1",
    )
    return quickstart(choice, folder, options)


def _resident() -> int:
    """Highest so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
