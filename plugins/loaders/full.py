"""loader=full: every parameter is trained, every role is a model of its own."""

import torch

from rlhfkit.context import Context
from rlhfkit.distributed.fsdp import shard_module
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.loading import load_causal_lm
from rlhfkit.models.offload import IdleOffload
from rlhfkit.models.quantised import is_quantised
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.models.verification import verified
from rlhfkit.rl.onednn import use_onednn
from rlhfkit_plugins.loaders import FullConfig
from rlhfkit_plugins.loaders.heads import head_of


class FullLoader:
    """Whole models; trained ones are kept in float32, frozen ones in the run's precision."""

    def __init__(self, config: FullConfig, context: Context) -> None:
        self._context = context
        self._offload = IdleOffload(context.device) if config.offload_idle else None

    def language_model(self, path: str | None, *, trainable: bool = False) -> LanguageModel:
        dtype = torch.float32 if trainable else None
        model = load_causal_lm(self._context, path, dtype)
        if trainable and is_quantised(model):
            raise UserError(
                f"{model.name_or_path}: its weights are quantised, so they cannot be trained; "
                f"loader=qlora trains adapters on them"
            )
        model.requires_grad_(trainable)
        use_onednn(model)
        loaded = LanguageModel(
            model,
            compute_dtype=self._context.precision.autocast,
            share_prompts=self._context.config.model.share_prompts,
        )
        verified(self._context, loaded)
        loaded.offload = self._offload
        if self._offload is not None and not trainable:
            model.to("cpu")  # until it is used
        return loaded

    def scalar_model(self, path: str, *, trainable: bool = False) -> ScalarModel:
        body = self.language_model(path, trainable=trainable)
        head = head_of(path, body.hidden_size)
        return ScalarModel(body, head.requires_grad_(trainable))

    def roles(self, sft: str | None, reward_model: str | None) -> RoleModels:
        """Each is spread over the processes before the next one is loaded."""
        start = reward_model or sft or self._context.config.model.path
        policy = self.language_model(sft, trainable=True)
        _spread(policy)
        reference = self.language_model(sft)
        _spread(reference)
        value = self.scalar_model(start, trainable=True)
        _spread(value.language_model)
        if reward_model is None:
            return RoleModels(policy, reference, value, None)
        reward = self.scalar_model(reward_model)
        _spread(reward.language_model)
        return RoleModels(policy, reference, value, reward)


def _spread(model: LanguageModel) -> None:
    shard_module(model.module, model.device)
