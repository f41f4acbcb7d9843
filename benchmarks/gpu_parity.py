"""Whether a GPU computes what it should: roles beside models of their own, a GPU beside a CPU.

    python benchmarks/gpu_parity.py [--device cuda:0] [--rehearse]

Prints both comparisons as JSON; `gpu_first.py` makes them as two of its steps. Models are tiny or
small and have random weights: nothing is downloaded.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from memory_setup import Settings, context_of, overrides
from parsers import parser_of
from torch import Tensor

from rlhfkit.console import console
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import ScalarModel

PARITY_SHAPE = {
    "model_type": "qwen2",
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 1536,
    "vocab_size": 4096,
    "tie_word_embeddings": True,
}
ROLES = ("policy", "reference", "value", "reward")
ROWS, PROMPT, RESPONSE = 6, 48, 32


def shared_roles(settings: Settings) -> dict[str, Any]:
    """The largest difference between what a role gives on the base that all share, and what a model
    of its own with the same adapter gives, by role; the same of the policy's gradients.

    The base is in NF4. The differences are 0 where switching adapters changes nothing else.
    """
    with tempfile.TemporaryDirectory() as folder:
        kind = settings.device.partition(":")[0]
        context = context_of(PARITY_SHAPE, overrides(settings), Path(folder), kind, settings.device)
        loader = context.build("loader")
        torch.manual_seed(settings.seed)
        roles = loader.roles(None, folder)
        shared = {name: getattr(roles, name) for name in ROLES}
        for name, model in shared.items():
            _draw_adapter(model, name)
        found = {name: _outputs(model) for name, model in shared.items()}
        differences = {}
        for name, together in found.items():
            torch.manual_seed(settings.seed)
            scalar = isinstance(shared[name], ScalarModel)
            make = loader.scalar_model if scalar else loader.language_model
            alone = make(folder if scalar else None, trainable=True)
            _draw_adapter(alone, name)
            if isinstance(alone, ScalarModel):
                alone.head.load_state_dict(shared[name].head.state_dict())
            alone_outputs = _outputs(alone)
            differences[name] = {
                key: (value - alone_outputs[key]).abs().max().item()
                for key, value in together.items()
            }
            if not all(0 < value.abs().max().item() < float("inf") for value in together.values()):
                raise AssertionError(f"{name}: zeros or no numbers, which would compare as equal")
    return {"largest difference": differences}


def main() -> None:
    """Print what differs, and by how much."""
    from gpu_first import REHEARSED, SETTINGS

    parser = parser_of(__doc__)
    parser.add_argument("--device", default="cuda:0", help="cuda:0, cuda:1, ... or cpu")
    parser.add_argument("--rehearse", action="store_true", help="with shorter texts")
    options = parser.parse_args()
    settings = replace(REHEARSED if options.rehearse else SETTINGS, device=options.device)
    for compare in (shared_roles, tiny_runs):
        console.print_json(data=compare(settings))


def _language_model(model: LanguageModel | ScalarModel) -> LanguageModel:
    return model.language_model if isinstance(model, ScalarModel) else model


def _adapter(model: LanguageModel | ScalarModel, role: str) -> Iterator[torch.nn.Parameter]:
    """The weights of one role's adapter, in the order of their layers."""
    named = list(_language_model(model).model.named_parameters())
    own = role if any(f".{role}." in name for name, _ in named) else "default"
    return (weight for name, weight in named if "lora_" in name and f".{own}." in name)


@torch.no_grad()
def _draw_adapter(model: LanguageModel | ScalarModel, role: str) -> None:
    """Numbers that belong to the role, where fresh adapters have no effect."""
    generator = torch.Generator().manual_seed(ROLES.index(role))
    for weight in _adapter(model, role):
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)


def _outputs(model: LanguageModel | ScalarModel) -> dict[str, Tensor]:
    """What the role is for, and the gradient of its mean where its adapter is trained."""
    language_model = _language_model(model)
    generator = torch.Generator().manual_seed(0)
    draw = torch.randint(10, 4000, (ROWS, PROMPT + RESPONSE), generator=generator).tolist()
    batch = language_model.batch(
        [row[:PROMPT] for row in draw], [row[PROMPT:] for row in draw], None
    )
    if isinstance(model, ScalarModel):
        output = model.values(batch)
    else:
        output = model.response_logprobs(batch, 1.0)[0]
    trained = [item for item in language_model.trainable_parameters() if item.requires_grad]
    found = {"outputs": output.detach().cpu()}
    if output.requires_grad and trained:
        gradients = torch.autograd.grad(output.float().mean(), trained)
        found["gradients"] = torch.cat([item.flatten().cpu() for item in gradients])
    return found


RUN = """
import sys
import torch
from rlhfkit_plugins.samplers import cached
from rlhfkit.commands.main import main

generator = torch.Generator().manual_seed(0)

def draw(model, hidden, temperature, _):
    uniform = torch.rand(len(hidden), 1, generator=generator, dtype=torch.float64)
    return cached._draw(model.logits(hidden).div_(temperature), uniform.to(hidden.device))

cached.draw = draw
cached.CHECK_EVERY = 1
main(sys.argv[1:])
"""
"""A run that takes the same numbers for its draws on every device."""

TRAINED = ("sft", "reward_model", "rl")
_TIMES = ("time/", "train_runtime", "train_s", "eval_runtime", "eval_s", "step_time")


def tiny_runs(settings: Settings) -> dict[str, Any]:
    """A whole tiny run in float32 on the device and one on the CPU: the largest relative difference
    of what each trained stage logs, and the three metrics that differ most."""
    from rlhfkit.testing.tiny_run import SETTINGS, write_files

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(folder)
        splits = ("demonstrations", "prompts", "eval_prompts", "pretraining")
        command = [
            *SETTINGS,
            *(f"data.files.{split}={files[split]}" for split in splits),
            f"model.path={files['model']}",
            "model.dtype=float32",
            "loader=lora",
            "run_name=tiny",
        ]
        kind = settings.device.partition(":")[0]
        running = [_start(command, folder / place, place) for place in (kind, "the cpu")]
        metrics = [_metrics(process, root) for process, root in running]
    return _compare(*metrics)


def _start(command: list[str], root: Path, place: str) -> tuple[subprocess.Popen[str], Path]:
    """Both at once: a run of this size waits for imports more than for anything else."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if place == "the cpu" else {}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *command, f"run_dir={root}"],
        env=os.environ | hidden,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, root


def _metrics(process: "subprocess.Popen[str]", root: Path) -> dict[str, list[dict[str, Any]]]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(output[-2000:])
    return {
        stage: [json.loads(line) for line in (root / stage / "metrics.jsonl").open()]
        for stage in TRAINED
    }


def _compare(
    card: dict[str, list[dict[str, Any]]], cpu: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    found: dict[str, list[tuple[float, str, float, float]]] = {stage: [] for stage in TRAINED}
    for stage in TRAINED:
        for step, (row, beside) in enumerate(zip(card[stage], cpu[stage], strict=True)):
            for name, value in row.items():
                if isinstance(value, int | float) and not name.startswith(_TIMES):
                    distance = abs(value - beside[name]) / max(abs(beside[name]), 1e-3)
                    found[stage].append((distance, f"{name} {step}", value, beside[name]))
    return {
        "largest relative difference": {stage: max(rows)[0] for stage, rows in found.items()},
        "numbers compared": {stage: len(rows) for stage, rows in found.items()},
        "most different": {stage: sorted(rows)[-3:][::-1] for stage, rows in found.items()},
    }


if __name__ == "__main__":
    main()
