"""evaluator=pretraining_loss: what RL costs the language model (InstructGPT, section 4.2)."""

from collections.abc import Mapping

from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.text_format import load_text_format
from rlhfkit.errors import UserError
from rlhfkit.intervals import interval
from rlhfkit.models.batch_size import AdaptiveBatchSize, micro_batch
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.stages.sample import load_policy
from rlhfkit.types import Evaluation, PolicySamples
from rlhfkit_plugins.evaluators import PretrainingLossConfig


class PretrainingLoss:
    """`pretraining_loss` per policy of the run; its independent items are the texts."""

    def __init__(self, config: PretrainingLossConfig, context: Context) -> None:
        self._config, self._context = config, context
        text = load_text_format(context)
        rows = [text.text_ids(item) for item in sources.held_out_texts(context)]
        self._rows = [row[: config.max_length] for row in rows if len(row) > 1]
        if not self._rows:
            raise UserError("data.<source>.pretraining: no held-out text is longer than a token")

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """One policy in memory at a time; none with another tokenizer, whose tokens are others."""
        config, seed = self._config, self._context.config.seed
        losses = {
            policy: self._losses(policy)
            for policy, own in samples.items()
            if own.reference_kl is not None
        }
        metrics = {
            policy: {
                "pretraining_loss": interval(found, config.confidence_level, config.resamples, seed)
            }
            for policy, found in losses.items()
        }
        rows = [
            {"policy": policy, "item": index, "pretraining_loss": loss}
            for policy, found in losses.items()
            for index, loss in enumerate(found)
        ]
        return Evaluation(metrics, rows, {"pretraining_loss": "lower"})

    def _losses(self, policy: str) -> list[float]:
        """Nats per token of each text, its first token given."""
        context = self._context
        untrained = policy == "sft" and context.model_of("sft") is None
        logprobs = teacher_forced_logprobs(
            load_policy(context, "base" if untrained else policy),
            [row[:1] for row in self._rows],
            [row[1:] for row in self._rows],
            1.0,
            AdaptiveBatchSize("pretraining loss", micro_batch(context.config.stage.rl)),
        )
        return [-float(row.mean()) for row in logprobs]
