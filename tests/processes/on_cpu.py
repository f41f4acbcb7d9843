"""`rlhfkit` under DeepSpeed on CPUs, by gloo alone: without the kernel for shared memory that
DeepSpeed would compile for minutes."""

import deepspeed

from rlhfkit.cli import main

if __name__ == "__main__":
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    main()
