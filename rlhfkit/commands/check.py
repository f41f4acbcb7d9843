"""`rlhfkit check`: every check that a run starts with, and nothing else."""

from rlhfkit.console import console
from rlhfkit.runner.preflight import refuse_mistakes
from rlhfkit.runner.runner import Runner


def check(runner: Runner) -> None:
    """Show what the data holds; then what would run. Raises `UserError` with every mistake."""
    planned, mistakes = runner.planned()
    refuse_mistakes(planned, mistakes)
    if planned.waiting:
        console.print(f"no mistake found; would run: {', '.join(planned.names)}", soft_wrap=True)
    else:
        console.print("no mistake found; every stage is complete", soft_wrap=True)
