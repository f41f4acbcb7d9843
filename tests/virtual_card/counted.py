"""`python -m tests.virtual_card.counted LOADER FOLDER`: what a token and an update of PPO cost in
operations on the card and in waits for it, as JSON."""

from tests.virtual_card import card  # noqa: F401  -- before torch

# isort: split
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlhfkit_plugins.optimizers.ppo import PPO
from rlhfkit_plugins.samplers import cached
from tests.virtual_card.counting import Counting
from tests.virtual_card.scenario import TinyRuns

COUNTED: dict[str, list[dict[str, Any]]] = {}


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, each of its calls counted under a name."""

    def call(*args: Any, **options: Any) -> Any:
        with Counting() as counts:
            result = function(*args, **options)
        waits = {f"{operation} {place}": n for (operation, place), n in counts.waits.items()}
        numbers = {"operations": counts.kernels.total(), "waits": waits}
        COUNTED.setdefault(name, []).append(numbers)
        return result

    return call


def main() -> None:
    """Two iterations of four updates, each of two micro-batches."""
    loader, folder = sys.argv[1:]
    results, sys.stdout = sys.stdout, sys.stderr
    cached.draw = counted("draw", cached.draw)
    cached.Decoding.advance = counted("advance", cached.Decoding.advance)
    PPO.step = counted("step", PPO.step)
    stages = "stages=[sft,sample,label,reward_model,rl]"
    TinyRuns(Path(folder)).run("run", f"loader={loader}", stages)
    print(json.dumps(COUNTED), file=results)


if __name__ == "__main__":
    main()
