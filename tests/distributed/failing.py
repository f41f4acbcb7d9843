"""A program in which one process fails while the others wait for it, and what `rlhfkit` makes of
that: `python -m tests.distributed.failing KIND`."""

import sys

from rlhfkit.commands import main
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError


def perform(arguments):
    processes.barrier()
    if processes.rank() == 1:
        raise UserError("no luck") if arguments == ["mistake"] else RuntimeError("no luck at all")
    processes.barrier()


if __name__ == "__main__":
    main._dispatch = perform
    main.main(sys.argv[1:])
