"""Stage rl_sft: the model that RL starts from and measures its KL against, trained like the SFT
model with options of its own: two epochs, pretraining texts mixed in.

Writes: model/, metrics.jsonl. Source: InstructGPT, sections C.3 and C.4.
"""

from rlhfkit.context import Context
from rlhfkit.stages.sft import train_sft


def run(context: Context) -> None:
    """Train the model from the base, not from the SFT model."""
    train_sft(context, context.config.stage.rl_sft)
