"""The quickstart: its data, and where its model comes from when the hub is out of reach."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlhfkit import hookimpl
from rlhfkit.component import Component

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass
class QuickstartConfig:
    """Demonstrations, prompts and texts written for this project, over the paper's use cases."""


@hookimpl
def data_sources() -> Sequence[Component]:
    return (
        Component(
            "quickstart", QuickstartConfig, "rlhfkit_plugins.quickstart.source:QuickstartSource"
        ),
    )


@hookimpl
def resolve_model(path: str) -> str | None:
    if path != MODEL:
        return None
    from rlhfkit_plugins.quickstart.model import local_copy

    return local_copy()
