"""Tokens per second of the samplers, beside the machine's own limits.

    python benchmarks/decode.py [--shape 135m] [--batch 32] [--completions 4] [--out DIR]

A policy as in RL (LoRA r = 16 on the upper third of the layers, float32, random weights: nothing
is downloaded) answers prompts of which each stands `--completions` times in the batch. No sequence
ends early. Repetitions of the variants alternate; the first one of each warms up.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hardware import header
from memory_setup import configured, context_of
from plan_check import _SMOLLM2_135M
from rich.table import Table

from rlhfkit.console import console
from rlhfkit.models.language_model import LanguageModel
from rlhfkit_plugins.samplers import CachedConfig, GenerateConfig
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.generate import GenerateSampler

SHAPES = {
    "135m": _SMOLLM2_135M,
    "tiny": {**_SMOLLM2_135M, "hidden_size": 72, "num_hidden_layers": 3, "vocab_size": 512},
}
Draw = Callable[[LanguageModel, list[list[int]], torch.Generator], object]


def main() -> None:
    """Measure, print the table, write the JSON."""
    options = _parse()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        model = _policy(options, Path(folder))
    body = sum(item.numel() for item in model.body.parameters()) - model.head.weight.numel()
    limits = {"copied_bytes_per_second": _copy_rate(), "flop_per_second": _product_rate()}
    variants = _variants(options)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repetition in range(options.repetitions + 1):
        for name, (draw, _) in variants.items():
            seconds[name].append(_seconds(draw, model, options, repetition))
    rows = [
        _row(name, seconds[name][1:], variants[name][1], body, model, options) for name in variants
    ]
    console.print(_table(rows, limits))
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    result = {
        "hardware": header("cpu", options.seed),
        "settings": settings,
        "limits": limits,
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "decode.json").write_text(json.dumps(result, indent=1) + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--batch", type=int, default=32, help="sequences at once")
    parser.add_argument("--completions", type=int, default=4, help="of each prompt in the batch")
    parser.add_argument("--prompt", type=int, default=40, help="tokens")
    parser.add_argument("--response", type=int, default=24, help="tokens")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="a directory")
    options = parser.parse_args()
    numbers = (options.batch, options.completions, options.prompt, options.response)
    if min(*numbers, options.repetitions, options.threads) < 1:
        parser.error("lengths, sizes, repetitions and threads must be positive")
    if options.batch % options.completions:
        parser.error("--batch: must be a multiple of --completions")
    return options


def _policy(options: argparse.Namespace, folder: Path) -> LanguageModel:
    torch.manual_seed(options.seed)
    shape = SHAPES[options.shape]
    lora = ["loader=lora", "loader.lora_r=16"]
    lora += [f"loader.lora_last_layers={shape['num_hidden_layers'] // 3}"]
    sizes = configured(options.prompt, options.response, options.batch)
    context = context_of(shape, [*lora, *sizes], folder, "cpu", "cpu")
    model: LanguageModel = context.build("loader").language_model(None, trainable=True)
    model.model.eval()
    for name, parameter in model.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.02)
    return model


def _variants(options: argparse.Namespace) -> dict[str, tuple[Draw, int]]:
    """By name: what draws a batch, and how many tokens the model's body reads for it."""
    sizes = {"response_length": options.response, "batch_size": options.batch}
    answers = options.batch * (options.response - 1)
    apart = options.batch * options.prompt + answers
    shared = options.batch // options.completions * options.prompt + answers
    again = options.batch * (options.prompt + options.response)

    def cached(**off: bool) -> Draw:
        sampler = CachedSampler(CachedConfig(**sizes, **off))
        return lambda model, prompts, generator: sampler.sample(model, prompts, -1, generator)

    reference = GenerateSampler(GenerateConfig(**sizes))
    return {
        "sampler=cached": (cached(), shared),
        "  share_prompts=false": (cached(share_prompts=False), apart),
        "  merge_adapters=false": (cached(merge_adapters=False), shared),
        "sampler=generate": (
            lambda model, prompts, generator: reference.sample(model, prompts, -1, generator),
            apart + again,
        ),
        "transformers' generate": (_generate(options), apart),
    }


def _generate(options: argparse.Namespace) -> Draw:
    """Without the log-probabilities."""
    lengths = {"max_new_tokens": options.response, "min_new_tokens": options.response}

    def draw(model: LanguageModel, prompts: list[list[int]], _: torch.Generator) -> object:
        ids = torch.tensor(prompts)
        mask = torch.ones_like(ids)
        return model.model.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, pad_token_id=0, **lengths
        )

    return draw


def _seconds(draw: Draw, model: LanguageModel, options: argparse.Namespace, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    shape = (options.batch // options.completions, options.prompt)
    distinct = torch.randint(3, 500, shape, generator=generator).tolist()
    prompts = [prompt for prompt in distinct for _ in range(options.completions)]
    started = time.perf_counter()
    with torch.no_grad():
        draw(model, prompts, generator)
    return time.perf_counter() - started


def _row(
    name: str,
    seconds: list[float],
    read: int,
    body: int,
    model: LanguageModel,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Products with weights only are counted: a body's for every token read, the head's for every
    token drawn; all weights are read once a step."""
    drawn = options.batch * options.response
    head = model.head.weight.numel()
    median = statistics.median(seconds)
    return {
        "variant": name.strip(),
        "seconds": seconds,
        "tokens_per_second": sorted(drawn / value for value in seconds),
        "flop_per_second": 2 * (body * read + head * drawn) / median,
        "weight_bytes_per_second": 4 * (body + head) * options.response / median,
    }


def _copy_rate() -> float:
    """Bytes read in a second by the fastest of some copies of 256 MiB."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    return 4 * len(source) / min(_time(lambda: target.copy_(source)) for _ in range(5))


def _product_rate() -> float:
    """Floating-point operations in a second by the fastest of some products of 1024 x 1024."""
    one = torch.ones(1024, 1024)
    return 2 * 1024**3 / min(_time(lambda: one @ one) for _ in range(10))


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _table(rows: list[dict[str, Any]], limits: dict[str, float]) -> Table:
    table = Table("variant", "tokens/s (min, median, max)", "GFLOP/s", "weights read GB/s")
    for row in rows:
        rates = row["tokens_per_second"]
        spread = f"{rates[0]:.0f}, {statistics.median(rates):.0f}, {rates[-1]:.0f}"
        flop, read = row["flop_per_second"] / 1e9, row["weight_bytes_per_second"] / 1e9
        table.add_row(row["variant"], spread, f"{flop:.1f}", f"{read:.1f}")
    flop, copied = limits["flop_per_second"] / 1e9, limits["copied_bytes_per_second"] / 1e9
    table.add_row("limit: product, copy", "", f"{flop:.1f}", f"{copied:.1f}")
    return table


if __name__ == "__main__":
    main()
