"""`python -m tests.virtual_card.numbers LOADER DTYPE FOLDER`: what every trained stage logs, as
JSON; on the card, or on the CPU where the environment names none.

sampler=generate, because the other one draws from float64 on a CPU and from float32 on a card.
"""

import os

if "VIRTUAL_CUDA_LIB" in os.environ:
    from tests.virtual_card import card  # noqa: F401  -- before torch

# isort: split
import json
import sys
from pathlib import Path

from tests.virtual_card.scenario import TinyRuns

STAGES = ("sft", "reward_model", "rl")


def main() -> None:
    """Print a list of rows for each stage."""
    loader, dtype, folder = sys.argv[1:]
    results, sys.stdout = sys.stdout, sys.stderr
    options = (f"loader={loader}", f"model.dtype={dtype}", "sampler=generate")
    extra = (
        "optimizer.ptx_coef=1",
        "optimizer.ema_decay=0.9",
        "stages=[sft,sample,label,reward_model,rl]",
    )
    root = TinyRuns(Path(folder)).run("run", *options, *extra)
    files = {stage: root / stage / "metrics.jsonl" for stage in STAGES}
    rows = {stage: [json.loads(line) for line in files[stage].open()] for stage in STAGES}
    print(json.dumps(rows), file=results)


if __name__ == "__main__":
    main()
