"""Tokens a second of every way of sampling, on a card with a 4-bit base and adapters.

    python benchmarks/decode_gpu.py [--models 1.5b 8b] [--batches 8 32 64] [--seconds 100]

Weights are random and made from configurations: nothing is downloaded. No sequence ends early.
Two lengths are drawn; the rate is that of the tokens between them, without reading prompts and
recording graphs, which the column `once` has; `again` is the same for the second rollout of one
sampler, which records nothing. A line is printed after every measurement, and one
that fails does not stop the others. To try it out: `--models tiny --device cpu`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from memory_setup import SHAPES, Settings, make_context
from parsers import parser_of

from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Ends, Response
from rlhfkit_plugins.samplers import CachedConfig, GraphConfig
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.graph import GraphSampler

SHORT = 16
"""Tokens of the shorter of the two lengths."""

Draw = Callable[[LanguageModel, list[list[int]], int, int], list[Response]]
"""Draws so many tokens after each prompt, so often; gives the last responses."""


def _sampler(kind: Any, config: Any, **options: Any) -> Draw:
    def draw(
        model: LanguageModel, prompts: list[list[int]], length: int, rollouts: int
    ) -> list[Response]:
        made = kind(config(response_length=length, batch_size=len(prompts), **options))
        drawn: list[Response] = []
        for _ in range(rollouts):
            generator = torch.Generator(model.device).manual_seed(0)
            drawn = made.sample(model, prompts, Ends((-1,)), generator)
        return drawn

    return draw


@torch.no_grad()
def _generate(
    model: LanguageModel, prompts: list[list[int]], length: int, rollouts: int
) -> list[Response]:
    """transformers' generate with plain sampling, without log-probabilities."""
    model.activate()
    ids = torch.tensor(prompts, device=model.device)
    lengths = {"max_new_tokens": length, "min_new_tokens": length}
    plain = {"do_sample": True, "top_k": 0, "top_p": 1.0, "pad_token_id": 0}
    with model.autocast():
        for _ in range(rollouts):
            model.base.generate(ids, attention_mask=torch.ones_like(ids), **plain, **lengths)
    return []


SAMPLERS: dict[str, Draw] = {
    "graph, dequantised": _sampler(GraphSampler, GraphConfig, dequantise=True),
    "graph": _sampler(GraphSampler, GraphConfig, dequantise=False),
    "cached": _sampler(CachedSampler, CachedConfig),
    "static": _sampler(GraphSampler, GraphConfig, dequantise=False, capture=False),
    "generate": _generate,
}
"""What is most worth knowing comes first."""


def measure(
    model: LanguageModel, sampler: str, batch: int, prompt_len: int, new_tokens: int
) -> dict[str, float]:
    """Tokens a second, seconds that are spent once a rollout, in the first and in the second of one
    sampler, and the peak of memory in GiB."""
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(3, 500, (batch, prompt_len), generator=generator).tolist()
    draw = SAMPLERS[sampler]
    draw(model, prompts, 2, 1)  # libraries load their kernels
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    few = _seconds(draw, model, prompts, SHORT)
    many = _seconds(draw, model, prompts, new_tokens)
    twice = _seconds(draw, model, prompts, SHORT, 2)
    a_token = (many - few) / (new_tokens - SHORT)
    peak = torch.cuda.max_memory_allocated() if model.device.type == "cuda" else 0
    return {
        "tokens_per_second": batch / a_token,
        "ms_per_step": 1000 * a_token,
        "once": few - SHORT * a_token,
        "again": twice - few - SHORT * a_token,
        "peak_gib": peak / 2**30,
    }


def _seconds(
    draw: Draw, model: LanguageModel, prompts: list[list[int]], length: int, rollouts: int = 1
) -> float:
    _wait(model)
    started = time.perf_counter()
    draw(model, prompts, length, rollouts)
    _wait(model)
    return time.perf_counter() - started


def _wait(model: LanguageModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def agreement(model: LanguageModel, prompt_len: int, new_tokens: int) -> dict[str, float]:
    """Shares of responses that are the same in two ways of sampling, and how far log-probabilities
    are from those of the update's forward pass, in nats."""
    prompts = [[3 + row] * (prompt_len - row) for row in range(11)]
    drawn = {
        name: SAMPLERS[name](model, prompts, new_tokens, 1)
        for name in SAMPLERS
        if name != "generate"
    }
    found = {}
    for name, responses in drawn.items():
        pairs = zip(responses, drawn["static"], strict=True)
        found[f"{name}: as static"] = sum(one.ids == other.ids for one, other in pairs) / 11
        batch = make_batch(prompts, [item.ids for item in responses], model.device)
        with torch.no_grad():
            expected, _ = model.response_logprobs(batch)
        own = expected.new_tensor([item.logprobs for item in responses])
        found[f"{name}: drift"] = float((own - expected).abs().mean())
    return found


def kernels(model: LanguageModel, batch: int, prompt_len: int) -> str:
    """Where a step's time goes on the card."""
    from torch.profiler import ProfilerActivity, profile

    draw = _sampler(GraphSampler, GraphConfig, dequantise=True, capture=False)
    prompts = [[3] * prompt_len for _ in range(batch)]
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        draw(model, prompts, 9, 1)
    key = "self_device_time_total" if model.device.type == "cuda" else "self_cpu_time_total"
    averages = sorted(found.key_averages(), key=lambda item: -getattr(item, key))[:24]
    lines = [f"{getattr(item, key):>9.0f} us {item.count:>5} {item.key[:110]}" for item in averages]
    return "\n".join(lines)


def load(name: str, options: argparse.Namespace, folder: Path) -> LanguageModel:
    """A policy on a 4-bit base, with an adapter that changes its numbers."""
    size = max(options.batches)
    settings = Settings(options.prompt, options.tokens, size, True, 1, options.device, 0, "cached")
    context = make_context(name, settings, folder, options.device)
    model: LanguageModel = context.build("loader").language_model(None, trainable=True)
    model.model.eval()
    for key, parameter in model.model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter.data, std=0.02)
    return model


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what there is time for, and write the numbers."""
    options = _parse(arguments)
    rows: list[dict[str, Any]] = []
    for name in options.models:
        ends = time.perf_counter() + options.seconds
        with tempfile.TemporaryDirectory() as folder:
            model = _attempt("load", load, name, options, Path(folder))
        if model is None:
            continue
        _attempt("check", GraphSampler(GraphConfig(response_length=8)).for_model, model)
        print("agreement", _attempt("agreement", agreement, model, options.prompt, 12), flush=True)
        for batch in options.batches:
            rows += _of_batch(model, name, batch, ends, options)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        if options.kernels and time.perf_counter() < ends:
            print(_attempt("kernels", kernels, model, 32, options.prompt), flush=True)
        del model


def _of_batch(
    model: LanguageModel, name: str, batch: int, ends: float, options: argparse.Namespace
) -> list[dict[str, Any]]:
    rows = []
    for sampler in SAMPLERS:
        if time.perf_counter() > ends:
            print(f"{name} {batch} {sampler}: no time left", flush=True)
            continue
        found = _attempt(sampler, measure, model, sampler, batch, options.prompt, options.tokens)
        if found is not None:
            rows.append({"model": name, "sampler": sampler, "batch": batch, **found})
            print(
                f"{name} batch {batch:>3} {sampler:<18} {found['tokens_per_second']:>8.0f} "
                f"tokens/s {found['ms_per_step']:>7.2f} ms a step, once {found['once']:>5.2f} s, "
                f"again {found['again']:>5.2f} s, "
                f"peak {found['peak_gib']:.2f} GiB",
                flush=True,
            )
    return rows


def _attempt(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Its result; None where it failed, and a line says how."""
    started = time.perf_counter()
    try:
        return function(*arguments)
    except Exception as error:  # of any kind: the others are still measured
        print(f"{what} failed: {type(error).__name__}: {str(error)[:400]}", flush=True)
        return None
    finally:
        print(f"({what}: {time.perf_counter() - started:.1f} s)", flush=True)


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--models", nargs="+", choices=SHAPES, default=["1.5b", "8b"], help="shapes"
    )
    parser.add_argument(
        "--batches", nargs="+", type=int, default=[32, 64, 8], help="sequences at once"
    )
    parser.add_argument("--prompt", type=int, default=256, help="tokens")
    parser.add_argument("--tokens", type=int, default=112, help="of the longer responses")
    parser.add_argument("--kernels", action="store_true", help="where a step's time goes")
    parser.add_argument("--seconds", type=float, default=100, help="for a model, at most about")
    parser.add_argument("--device", default="cuda:0", help="cuda:0, cuda:1, ... or cpu")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/benchmarks/decode_gpu.json"),
        help="the file to write",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
