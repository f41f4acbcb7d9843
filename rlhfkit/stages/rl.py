"""Stage rl: the chosen policy optimizer improves the SFT model.

Writes: model/ with the policy, metrics.jsonl; frontier.json with the policies that `select_by`
compared. The loop of the online ones is `rlhfkit.online.loop`.
"""

from rlhfkit.context import Context
from rlhfkit.errors import UserError


def run(context: Context) -> None:
    """Build the optimizer, check that what it reads exists, and train."""
    optimizer = context.build("optimizer")
    for stage in optimizer.needs:
        if stage in context.config.stages and context.run_dir.record(stage) is None:
            raise UserError(f"optimizer={context.config.optimizer.name} needs the stage {stage}")
    optimizer.train(context)
