"""`python -m tests.virtual_card.starved LOADER FOLDER`: a run in which the first attempt of every
phase but sampling runs out of the card's memory, and one with enough. Prints the phases, and the
numbers of both.

Smaller batches of samples are other samples; the run `sampled` starves that phase too.
"""

from tests.virtual_card import card  # before torch

# isort: split
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlhfkit.models.batch_size import AdaptiveBatchSize, is_out_of_memory
from tests.resume.comparing import contents
from tests.virtual_card.scenario import TinyRuns

ROOM = 2**14
"""Bytes that an attempt gets: enough to begin with."""

RUN = AdaptiveBatchSize.run


class Starving:
    """In the place of `BatchSize.run`."""

    def __init__(self, spared: tuple[str, ...] = ()) -> None:
        self.starved: list[str] = list(spared)

    def run(
        self, batch: AdaptiveBatchSize, rows: int, compute: Callable[[int], Any], **undo: Any
    ) -> Any:
        """Every phase's first attempt with more than a row fails."""

        def attempt(size: int) -> Any:
            if size == 1 or batch.phase in self.starved:
                return compute(size)
            card.limit(card.live() + ROOM)
            try:
                return compute(size)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    self.starved.append(batch.phase)
                raise
            finally:
                card.limit(None)

        return RUN(batch, rows, attempt, **undo)


def main() -> None:
    """Run three times."""
    loader, folder = sys.argv[1:]
    results, sys.stdout = sys.stdout, sys.stderr
    runs = TinyRuns(Path(folder))
    # in float32, where another order of the sums does not become another sample
    options = (f"loader={loader}", "model.dtype=float32", "optimizer.ptx_coef=1")
    found = {"enough": contents(runs.run("enough", *options))}
    phases = {}
    for name, spared in (("starved", ("sampling",)), ("sampled", ())):
        starving = Starving(spared)
        AdaptiveBatchSize.run = lambda batch, rows, compute, undo=lambda: None, kept=starving: (
            kept.run(batch, rows, compute, undo=undo)
        )
        found[name] = contents(runs.run(name, *options))
        phases[name] = starving.starved
    rows = {
        name: {file: own for file, own in files.items() if file.endswith("metrics.jsonl")}
        for name, files in found.items()
    }
    print(json.dumps({"phases": phases, "metrics": rows}), file=results)


if __name__ == "__main__":
    main()
