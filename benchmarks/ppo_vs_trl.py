"""PPO of a small model in rlhfkit and in TRL's experimental PPOTrainer, in turns.

    python benchmarks/ppo_vs_trl.py [--repetitions 5] [--loads mixed fixed] [--out DIR]

Both get the same model, reward model, prompts, adapters, lengths and batch. TRL has an environment
of its own, which the first run makes (`trl_venv.py`). Where there is a CUDA device both use it.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_memory import in_fresh_process
from parsers import parser_of
from ppo_table import table
from ppo_workload import LOADS, Choice
from trl_venv import trl_python

from rlhfkit.console import console

HERE = Path(__file__).parent
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def main() -> int:
    """The exit status: 0 whatever the numbers are."""
    options = _parse()
    choice = _choice(options)
    sides = {"rlhfkit": Path(sys.executable), "trl": trl_python()}
    with tempfile.TemporaryDirectory() as name:
        runs = _measure(options, choice, sides, Path(name))
    result = {
        "hardware": in_fresh_process("hardware", "header", "cuda:0", options.seed),
        "settings": asdict(choice) | {"warm_up": options.warm_up},
        "runs": runs,
    }
    console.print(table(runs, options.warm_up, choice.batch_size))
    file = options.out / "ppo_vs_trl.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(f"written: {file}", soft_wrap=True)
    return 0


def _parse() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--loads", nargs="+", choices=LOADS, default=list(LOADS), help="prompts and lengths"
    )
    parser.add_argument("--model", default=MODEL, help="a directory or hub name")
    parser.add_argument("--repetitions", type=int, default=5, help="of each side")
    parser.add_argument("--warm-up", type=int, default=1, help="iterations that are not counted")
    parser.add_argument("--iterations", type=int, default=1, help="iterations that are")
    parser.add_argument("--batch", type=int, default=16, help="episodes of an iteration")
    parser.add_argument("--micro-batch", type=int, default=16, help="sequences at once")
    parser.add_argument("--epochs", type=int, default=1, help="over each batch")
    parser.add_argument("--response", type=int, default=64, help="tokens at most")
    parser.add_argument("--upper-layers", type=int, default=10, help="of the third side")
    parser.add_argument("--seed", type=int, default=0, help="of reward model and draws")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    options = parser.parse_args()
    if min(options.repetitions, options.warm_up, options.iterations) < 1:
        parser.error("--repetitions, --warm-up and --iterations must be positive")
    if options.batch % options.micro_batch:
        parser.error("--batch must be a multiple of --micro-batch")
    return options


def _choice(options: argparse.Namespace) -> Choice:
    return Choice(
        model=options.model,
        batch_size=options.batch,
        micro_batch_size=options.micro_batch,
        num_ppo_epochs=options.epochs,
        response_length=options.response,
        iterations=options.warm_up + options.iterations,
        upper_layers=options.upper_layers,
    )


def _measure(
    options: argparse.Namespace, choice: Choice, sides: dict[str, Path], folder: Path
) -> list[dict[str, Any]]:
    """A record per repetition, load and side; sides take turns."""
    variants = in_fresh_process("ppo_workload", "write_models", choice, folder, options.seed)
    everywhere, upper = variants
    turns = [("rlhfkit", everywhere), ("trl", everywhere), ("rlhfkit", upper)]
    runs = []
    for load in options.loads:
        prompts = in_fresh_process("ppo_workload", "prompts_of", load, choice, folder)
        for repetition in range(options.repetitions):
            seed = options.seed + repetition
            drawn = draw(prompts, choice.batch_size * choice.iterations, seed)
            for side, layers in turns:
                settings = variants[layers] | drawn | {"seed": seed}
                console.print(f"{load}, repetition {repetition + 1}: {side}, {layers} layers")
                result = _run(sides[side], HERE / f"{side}_ppo.py", settings, folder)
                about = {"load": load, "side": side, "layers": layers, "repetition": repetition}
                runs.append(about | {"seed": seed} | result)
    return runs


def draw(prompts: dict[str, Any], count: int, seed: int) -> dict[str, Any]:
    """So many of the prompts; none twice before all were taken."""
    generator = random.Random(seed)
    total = len(prompts["prompts"])
    chosen: list[int] = []
    while len(chosen) < count:
        chosen += generator.sample(range(total), total)
    taken = {
        name: [prompts[name][index] for index in chosen[:count]]
        for name in ("prompts", "prompt_ids")
    }
    return prompts | taken


def _run(python: Path, script: Path, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a side measured, in a process of its own."""
    given, found = folder / "settings.json", folder / "result.json"
    given.write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run([python, script, given, found], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script.name} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return result


if __name__ == "__main__":
    sys.exit(main())
