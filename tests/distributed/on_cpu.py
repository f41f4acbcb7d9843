"""`rlhfkit` under DeepSpeed on CPUs, saying what DeepSpeed made of each trained model. By gloo
alone: without the kernel for shared memory, which DeepSpeed would compile for minutes."""

import deepspeed

from rlhfkit.commands.main import main

_initialize = deepspeed.initialize


def initialize(**options):
    engine, *rest = _initialize(**options)
    if "optimizer" in options:  # a reference model has none
        print(f"trained under ZeRO-{engine.zero_optimization_stage()}")
    return engine, *rest


if __name__ == "__main__":
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.initialize = initialize
    main()
