"""Options of online optimizers and their loop that do not go together. No torch here."""

from rlhfkit.config import RunConfig
from rlhfkit.errors import UserError, nearest
from rlhfkit.online_config import OnlineConfig

KL_ESTIMATORS = ("k1", "k2", "k3")


def check_online(config: RunConfig) -> None:
    """`UserError` for what the shared loop can do nothing with; before anything is trained."""
    optimizer, rl = config.optimizer, config.stage.rl
    if not isinstance(optimizer, OnlineConfig):
        return
    estimator = optimizer.kl_estimator
    if estimator not in KL_ESTIMATORS:
        raise UserError(f"optimizer.kl_estimator={estimator}: {nearest(estimator, KL_ESTIMATORS)}")
    if optimizer.kl_in_loss and estimator == "k1":
        raise UserError(
            "optimizer.kl_estimator=k1: the mean of its gradient is 0, so that in the loss it "
            "holds nothing; with optimizer.kl_in_loss=true take k2 or k3"
        )
    if rl.use_score_norm and not rl.use_score_scaling:
        raise UserError("stage.rl.use_score_norm=true: needs stage.rl.use_score_scaling=true")


def check_loop(config: RunConfig, completions_per_prompt: int) -> None:
    """`UserError` for rewards and batches that a loop cannot start with."""
    if not config.reward:
        raise UserError("reward=[]: the rl stage needs at least one reward function")
    if config.stage.rl.batch_size % completions_per_prompt:
        raise UserError(
            f"stage.rl.batch_size={config.stage.rl.batch_size}: must be a multiple of the "
            f"{completions_per_prompt} completions per prompt"
        )
