"""What two processes do in test_processes.py; `python -m tests.distributed.programs FILE` writes
what the main one found."""

import json
import sys
from pathlib import Path

import torch

from rlhfkit.config.run import CheckpointConfig
from rlhfkit.distributed import processes
from rlhfkit.online.rollout import evened
from rlhfkit.storage.checkpoints import Checkpoints
from tests.distributed.test_processes import ROWS


def gradients():
    """Of a parameter that one process has, of one that all have, of one that none has."""
    one, both, none = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(3))
    if processes.rank() == 1:
        one.grad = torch.full((2, 2), 3.0)
    both.grad = torch.full((2, 2), 1.0 + processes.rank())
    processes.sum_gradients([one, both, none])
    return [None if row.grad is None else row.grad.flatten().tolist() for row in (one, both, none)]


def tensors(count):
    """[i] + 1 numbers i in each process's share of `count` rows, one without any dimension."""
    rows = [torch.full((row + 1,), float(row)) for row in processes.local_shard(range(count))]
    rows = [row.squeeze(0) if len(row) == 1 else row for row in rows]
    return [row.tolist() for row in processes.gather_tensors(rows)]


def inside():
    """Whether a shared computation is alone, by whom it is done."""
    return processes.map_sharded(
        lambda rows: [(processes.world_size(), processes.is_main()) for _ in rows], [1, 2]
    )


def resumed(stage_dir):
    """Whether each process draws the same again after a checkpoint as when it was saved."""
    torch.manual_seed(processes.rank())
    Checkpoints(stage_dir, CheckpointConfig(save_steps=1)).save_if_due(1, lambda folder: None)
    drawn = torch.rand(3)
    Checkpoints(stage_dir, CheckpointConfig()).load()
    return processes.gather([torch.equal(drawn, torch.rand(3))])


def main(place):
    ran = []
    processes.on_main_process(ran.append, "main")
    found = {
        "count": processes.world_size(),
        "gathered": [processes.gather(list(processes.local_shard(range(n)))) for n in ROWS],
        "shared": [
            processes.map_sharded(lambda rows: [2 * row for row in rows], range(n)) for n in ROWS
        ],
        "tensors": [tensors(n) for n in ROWS],
        "inside": inside(),
        "gradients": gradients(),
        "total": float(processes.all_reduce_sum(torch.tensor(1.0 + processes.rank()))),
        "resumed": resumed(Path(place).parent / "stage"),
        "by_main": processes.gather(ran),
        "evened": processes.gather(
            evened([[1, 2, 3], [4]] if processes.rank() else [[5], [6], [7]])
        ),
        "draws": processes.gather(
            [torch.rand(1, generator=processes.generator(0, torch.device("cpu"))).item()]
        ),
    }
    if processes.is_main():
        Path(place).write_text(json.dumps(found))
    processes.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
