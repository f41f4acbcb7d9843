"""`python -m tests.virtual_card.kept FOLDER`: what sampler=graph records in rollouts with updates
between them, and whether it then draws what a new sampler draws without graphs, as JSON."""

from tests.virtual_card import card  # before torch

# isort: split
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._guards import detect_fake_mode

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.online.loop import OnlineOptimizer
from rlhfkit.types import Ends
from rlhfkit_plugins.optimizers.ppo import PPO
from rlhfkit_plugins.samplers import GraphConfig, static_batch
from rlhfkit_plugins.samplers.graph import GraphSampler
from tests.plugins.samplers.test_graph import PROMPTS, adapted, plain
from tests.plugins.samplers.test_graph_kept import quantised, update
from tests.virtual_card.graphs import Graph
from tests.virtual_card.scenario import TinyRuns

LONGER = [[3] * 50, *PROMPTS]
"""In a cache of 128 tokens, where the others have 64."""

MODELS: dict[str, tuple[Callable[[], LanguageModel], dict[str, bool]]] = {
    "adapters": (adapted, {}),
    "full": (plain, {}),
    "4 bits": (quantised, {"dequantise": False}),
    "4 bits unpacked": (quantised, {"dequantise": True}),
}


def on_card(name: str, dtype: torch.dtype) -> LanguageModel:
    """Frozen weights in half precision, adapters in float32."""
    model = MODELS[name][0]()
    for key, parameter in model.model.named_parameters():
        if "lora_" not in key and parameter.is_floating_point() and model.adapter is not None:
            parameter.data = parameter.data.to(dtype)
    for module in model.model.modules():
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = dtype
    model.model.to("cuda")
    return LanguageModel(model.model, model.adapter, dtype)


def ids(sampler: GraphSampler, model: LanguageModel, prompts: list[list[int]]) -> list[list[int]]:
    """What is drawn from a given seed."""
    generator = torch.Generator("cuda").manual_seed(0)
    return [item.ids for item in sampler.sample(model, prompts, Ends((2, 7)), generator)]


class Rollouts:
    """Counts the graphs of each, and compares what is drawn with steps that are launched."""

    def __init__(self, name: str, dtype: torch.dtype, **options: Any) -> None:
        self._model = on_card(name, dtype)
        self._options = {**MODELS[name][1], "response_length": 40, "batch_size": 24, **options}
        self.sampler = GraphSampler(GraphConfig(**self._options))
        self.found: dict[str, list[Any]] = {"graphs": [], "wrong": [], "different": []}

    def draw(self, what: str, prompts: list[list[int]] = PROMPTS) -> None:
        """One rollout, and an update after it."""
        before = Graph.made
        drawn = ids(self.sampler, self._model, prompts)
        self.found["graphs"].append(Graph.made - before)
        new = GraphSampler(GraphConfig(**self._options, capture=False))
        new.temperature = self.sampler.temperature
        if drawn != ids(new, self._model, prompts):
            self.found["wrong"].append(what)
        self.found["different"].append(len({tuple(row) for row in drawn}))
        update(self._model, seed=len(self.found["graphs"]))


def three(name: str, dtype: torch.dtype, **options: Any) -> dict[str, list[Any]]:
    """The same three times."""
    rollouts = Rollouts(name, dtype, **options)
    for number in range(3):
        rollouts.draw(f"rollout {number}")
    return rollouts.found


def changing() -> dict[str, list[Any]]:
    """What needs other graphs, and what is drawn by those that are there."""
    rollouts = Rollouts("adapters", torch.bfloat16)
    rollouts.draw("first")
    rollouts.draw("fewer", PROMPTS[:3])
    rollouts.sampler.temperature = 0.5
    rollouts.draw("temperature")
    rollouts.sampler.temperature = 1.0
    rollouts.draw("longer", LONGER)
    rollouts.draw("short again")
    rollouts.draw("long again", LONGER)
    return rollouts.found


def run(folder: Path, *overrides: str) -> dict[str, list[int]]:
    """Graphs that each rollout of a run recorded, and bytes on the card when its update began."""
    found: dict[str, list[int]] = {"graphs": [], "bytes": []}
    collect, step = OnlineOptimizer.collect, PPO.step

    def collected(*args: Any, **options: Any) -> Any:
        before = Graph.made
        result = collect(*args, **options)
        found["graphs"].append(Graph.made - before)
        return result

    def stepped(optimizer: PPO, rollout: Any) -> Any:
        if detect_fake_mode() is None:  # a plan makes a step before the run
            found["bytes"].append(card.live())
        return step(optimizer, rollout)

    OnlineOptimizer.collect, PPO.step = collected, stepped  # type: ignore[method-assign]
    stages = "stages=[sft,sample,label,reward_model,rl]"
    TinyRuns(folder).run("run", "sampler=graph", "loader=lora", stages, *overrides)
    OnlineOptimizer.collect, PPO.step = collect, step  # type: ignore[method-assign]
    return found


def main() -> None:
    """Print what is found."""
    results, sys.stdout = sys.stdout, sys.stderr
    static_batch.SMALLEST_BUCKET = 32  # which rows end when changes no graph
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    found: dict[str, Any] = {
        f"{name} in {dtype}": three(name, half[dtype]) for name in MODELS for dtype in half
    }
    found["not kept"] = three("adapters", torch.bfloat16, keep=False)
    found["changing"] = changing()
    folder = Path(sys.argv[1])
    found["run"] = run(folder / "kept")
    found["run, not kept"] = run(folder / "not kept", "sampler.keep=false")
    print(json.dumps(found), file=results)


if __name__ == "__main__":
    main()
