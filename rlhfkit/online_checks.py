"""Options of online optimizers and their loop outside their meaning, refused before it starts."""

from rlhfkit.checks import require_above_zero, require_fractions, require_not_negative
from rlhfkit.config import RunConfig
from rlhfkit.errors import UserError
from rlhfkit.online_config import OnlineConfig


def check_online(config: OnlineConfig) -> None:
    """Raise `UserError` for a value that the shared loop can do nothing with."""
    require_not_negative("optimizer", config, "learning_rate", "weight_decay", "ptx_coef")
    require_above_zero("optimizer", config, "adam_epsilon", "max_grad_norm", "cliprange")
    require_above_zero("optimizer", config, "num_ppo_epochs", "num_mini_batches", "ptx_length")
    require_fractions("optimizer", config, "adam_beta1", "adam_beta2", "ema_decay")


def check_loop(config: RunConfig, completions_per_prompt: int) -> None:
    """The same for the options of the stage."""
    rl = config.stage.rl
    require_above_zero("stage.rl", rl, "total_episodes", "batch_size", "micro_batch_size")
    require_above_zero("stage.rl", rl, "reward_clip")
    require_not_negative("stage.rl", rl, "missing_eos_penalty")
    if rl.use_score_norm and not rl.use_score_scaling:
        raise UserError("stage.rl.use_score_norm=true: needs stage.rl.use_score_scaling=true")
    if not config.reward:
        raise UserError("reward=[]: the rl stage needs at least one reward function")
    if rl.batch_size % completions_per_prompt:
        raise UserError(
            f"stage.rl.batch_size={rl.batch_size}: must be a multiple of the "
            f"{completions_per_prompt} completions per prompt"
        )
