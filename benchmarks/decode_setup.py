"""What benchmarks/decode.py compares, and the limits it is compared with."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from memory_setup import configured, context_of
from plan_check import SMOLLM2_135M

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig, GenerateConfig
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.generate import GenerateSampler

SHAPES = {
    "135m": SMOLLM2_135M,
    "tiny": {**SMOLLM2_135M, "hidden_size": 72, "num_hidden_layers": 3, "vocab_size": 512},
}
Draw = Callable[[LanguageModel, list[list[int]], torch.Generator], object]


def policy(options: argparse.Namespace, folder: Path) -> LanguageModel:
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


def variants(options: argparse.Namespace) -> dict[str, tuple[Draw, int]]:
    """By name: what draws a batch, and how many tokens the model's body reads for it."""
    sizes = {"response_length": options.response, "batch_size": options.batch}
    answers = options.batch * (options.response - 1)
    apart = options.batch * options.prompt + answers
    shared = options.batch // options.completions * options.prompt + answers
    again = options.batch * (options.prompt + options.response)

    def cached(share_prompts: bool = True, **off: bool) -> Draw:
        sampler = CachedSampler(CachedConfig(**sizes, **off))

        def draw(
            model: LanguageModel, prompts: list[list[int]], generator: torch.Generator
        ) -> object:
            model.share_prompts = share_prompts
            return sampler.sample(model, prompts, Ends((-1,)), generator)

        return draw

    reference = GenerateSampler(GenerateConfig(**sizes))
    return {
        "sampler=cached": (cached(), shared),
        "  share_prompts=false": (cached(share_prompts=False), apart),
        "  merge_adapters=false": (cached(merge_adapters=False), shared),
        "sampler=generate": (
            lambda model, prompts, generator: reference.sample(
                model, prompts, Ends((-1,)), generator
            ),
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


def seconds_of(draw: Draw, model: LanguageModel, options: argparse.Namespace, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    shape = (options.batch // options.completions, options.prompt)
    distinct = torch.randint(3, 500, shape, generator=generator).tolist()
    prompts = [prompt for prompt in distinct for _ in range(options.completions)]
    started = time.perf_counter()
    with torch.no_grad():
        draw(model, prompts, generator)
    return time.perf_counter() - started


def copy_rate() -> float:
    """Bytes read in a second by the fastest of some copies of 256 MiB."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    return 4 * len(source) / min(_time(lambda: target.copy_(source)) for _ in range(5))


def product_rate() -> float:
    """Floating-point operations in a second by the fastest of some products of 1024 x 1024."""
    one = torch.ones(1024, 1024)
    return 2 * 1024**3 / min(_time(lambda: one @ one) for _ in range(10))


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
