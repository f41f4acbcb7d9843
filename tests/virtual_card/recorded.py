"""`python -m tests.virtual_card.recorded`: what sampler=graph draws on the card when its steps are
recorded, launched one by one and cannot be recorded, and what a step costs, as JSON."""

from tests.virtual_card import card  # noqa: F401  -- before torch

# isort: split
import json
import sys
from typing import Any

import torch

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import GraphConfig, graph, static_batch
from rlhfkit_plugins.samplers.graph import GraphSampler
from tests.plugins.samplers.test_graph import PROMPTS, adapted
from tests.virtual_card.counting import Counting
from tests.virtual_card.graphs import Graph

STEPS: list[Counting] = []


def responses(model: LanguageModel, **options: Any) -> list[list[int]]:
    """Rows end at different steps, so that others move up into smaller buckets."""
    sampler = GraphSampler(GraphConfig(response_length=40, batch_size=24, **options))
    generator = torch.Generator("cuda").manual_seed(0)
    return [item.ids for item in sampler.sample(model, PROMPTS, Ends((2, 7)), generator)]


class CountedStep(graph.StaticStep):
    """Launched step by step."""

    def __call__(self) -> None:
        with Counting() as counted:
            super().__call__()
        STEPS.append(counted)


def main() -> None:
    """Print what is found."""
    results, sys.stdout = sys.stdout, sys.stderr
    static_batch.SMALLEST_BUCKET = 4
    model = adapted()
    model.model.bfloat16().to("cuda")
    model = LanguageModel(model.model, "policy", torch.bfloat16)
    found: dict[str, Any] = {"recorded": responses(model), "graphs": Graph.made}
    graph.StaticStep = CountedStep  # type: ignore[misc]
    found["launched"] = responses(model, capture=False)
    found["operations"] = max(step.kernels.total() for step in STEPS)
    found["waits"] = sum(step.waits.total() + step.uploads.total() for step in STEPS)
    forward = model.body.forward

    def waiting(**inputs: Any) -> Any:
        inputs["position_ids"].max().item()
        return forward(**inputs)

    model.body.forward = waiting  # type: ignore[method-assign]
    found["waiting"], found["graphs in the end"] = responses(model), Graph.made
    print(json.dumps(found), file=results)


if __name__ == "__main__":
    main()
