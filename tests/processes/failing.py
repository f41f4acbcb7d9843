"""A program in which one process fails while the others wait for it, and what `rlhfkit` makes of
that: `python -m tests.processes.failing KIND`."""

import sys

from rlhfkit import cli, processes
from rlhfkit.errors import UserError


def perform(arguments):
    processes.wait()
    if processes.rank() == 1:
        raise UserError("no luck") if arguments == ["mistake"] else RuntimeError("no luck at all")
    processes.wait()


if __name__ == "__main__":
    cli._dispatch = perform
    cli.main(sys.argv[1:])
