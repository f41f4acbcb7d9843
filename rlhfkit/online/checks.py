"""Options of the rl stage that do not go together, refused before its loop starts."""

from rlhfkit.config.run import RunConfig
from rlhfkit.errors import UserError


def check_loop(config: RunConfig, completions_per_prompt: int) -> None:
    """Raise `UserError` for a run that the loop can do nothing with."""
    if not config.reward:
        raise UserError("reward=[]: the rl stage needs at least one reward function")
    batch_size = config.stage.rl.batch_size
    if batch_size % completions_per_prompt:
        raise UserError(
            f"stage.rl.batch_size={batch_size}: must be a multiple of the "
            f"{completions_per_prompt} completions per prompt"
        )
