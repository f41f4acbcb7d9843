"""What `accelerate launch` asks for beyond plain processes. No torch."""

import os

from rlhfkit.distributed import processes

OURS = "RLHFKIT_SHARDS_FOR"
"""Environment variable: for what in a config file this project shards, and accelerate is not to."""


def wants_sharding() -> bool:
    """Whether models are to be sharded."""
    return processes.world_size() > 1 and bool(os.environ.get(OURS))
