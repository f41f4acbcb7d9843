"""`python -m tests.virtual_card.stopped SAMPLER FOLDER`: a run, and one that is stopped within rl
and resumed with the card's random numbers in another state. Prints the files that differ."""

from tests.virtual_card import card  # noqa: F401  -- before torch

# isort: split
import json
import sys
from pathlib import Path

import torch

from rlhfkit.online.loop import OnlineOptimizer
from tests.resume.comparing import contents
from tests.virtual_card.scenario import TinyRuns

ITERATE = OnlineOptimizer._iterate


def main() -> None:
    """Compare the two runs byte by byte."""
    sampler, folder = sys.argv[1:]
    results, sys.stdout = sys.stdout, sys.stderr
    runs = TinyRuns(Path(folder))
    options = (f"sampler={sampler}", "checkpoint.save_steps=1", "optimizer.ema_decay=0.9")
    plain = contents(runs.run("plain", *options))
    OnlineOptimizer._iterate = _stop_at_second
    try:
        runs.run("stopped", *options)
    except KeyboardInterrupt:
        OnlineOptimizer._iterate = ITERATE
    torch.manual_seed(12345)
    torch.rand(3, device="cuda")
    resumed = contents(runs.run("stopped", *options))
    different = [name for name in plain | resumed if plain.get(name) != resumed.get(name)]
    print(json.dumps({"files": len(plain), "different": different}), file=results)


def _stop_at_second(loop: OnlineOptimizer, iteration: int, checkpoints: object) -> object:
    if iteration == 2:
        raise KeyboardInterrupt
    return ITERATE(loop, iteration, checkpoints)


if __name__ == "__main__":
    main()
