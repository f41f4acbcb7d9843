"""loader=lora and loader=qlora: every role is an adapter, with a head where it needs one, on one
base (full precision or 4 bits)."""

import json
from pathlib import Path
from typing import Any

import peft
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.loading import ADAPTER_FILE, choose_dtype, is_adapter, load_causal_lm
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit_plugins.loaders import LoraConfig, QloraConfig
from rlhfkit_plugins.loaders.heads import head_of

_TRAINED = "default"
"""PEFT's own name for the adapter of a model that has only one."""


class LoraLoader:
    """Adapters on one base; the roles of RL share it in memory."""

    merge_frozen = True
    """Whether a frozen adapter is added into its base on loading: exact enough and much faster,
    but not on quantised weights, which would round it away."""

    def __init__(self, config: LoraConfig, context: Context) -> None:
        self._config = config
        self._context = context

    def language_model(self, path: str | None, *, trainable: bool = False) -> LanguageModel:
        base = self._base(None if is_adapter(path) else path)
        if not trainable and not is_adapter(path):
            return LanguageModel(base.requires_grad_(False))
        model = self._with_adapter(base, _TRAINED, path, trainable)
        if not trainable and self.merge_frozen:
            return LanguageModel(model.merge_and_unload().requires_grad_(False))
        return LanguageModel(model, _TRAINED)

    def scalar_model(self, path: str, *, trainable: bool = False) -> ScalarModel:
        body = self.language_model(path, trainable=trainable)
        head = head_of(path, body.hidden_size)
        return ScalarModel(body, head.requires_grad_(trainable))

    def roles(self, sft: str | None, reward_model: str | None) -> RoleModels:
        """The reference is the frozen SFT adapter, not the base without adapter. Dropout is off:
        the policy that is updated must be the one that sampled."""
        adapter = sft if is_adapter(sft) else None
        base = self._base(None if is_adapter(sft) else sft)
        model = self._with_adapter(base, "reference", adapter, trainable=False)
        self._add_adapter(model, "policy", adapter, trainable=True)
        self._add_adapter(model, "value", reward_model or adapter, trainable=True)
        policy = LanguageModel(model, "policy")
        value_head = head_of(reward_model, policy.hidden_size)
        reward = self._reward(model, reward_model) if reward_model else None
        model.eval()
        return RoleModels(
            policy=policy,
            reference=LanguageModel(model, "reference"),
            value=ScalarModel(LanguageModel(model, "value"), value_head),
            reward=reward,
        )

    def _reward(self, model: Any, path: str) -> ScalarModel:
        self._add_adapter(model, "reward", path, trainable=False)
        body = LanguageModel(model, "reward")
        return ScalarModel(body, head_of(path, body.hidden_size).requires_grad_(False))

    def _base(self, path: str | None) -> Any:
        return load_causal_lm(self._context, path)

    def _with_adapter(self, base: Any, name: str, path: str | None, trainable: bool) -> Any:
        """A PEFT model around a base with one adapter: stored, or fresh and without effect."""
        if is_adapter(path):
            assert path is not None
            self._check_base(path)
            return PeftModel.from_pretrained(base, path, adapter_name=name, is_trainable=trainable)
        return get_peft_model(base, self._fresh_config(base), adapter_name=name)

    def _add_adapter(self, model: Any, name: str, path: str | None, trainable: bool) -> None:
        if is_adapter(path):
            assert path is not None
            self._check_base(path)
            model.load_adapter(path, adapter_name=name, is_trainable=trainable)
        else:  # then the first adapter is fresh too, and without effect
            model.add_adapter(name, next(iter(model.peft_config.values())))

    def _check_base(self, path: str) -> None:
        stored = json.loads((Path(path) / ADAPTER_FILE).read_text(encoding="utf-8"))
        base, wanted = stored["base_model_name_or_path"], self._context.config.model.path
        if base != wanted:
            raise UserError(f"{path}: an adapter for {base}, but model.path={wanted}")

    def _fresh_config(self, base: Any) -> peft.LoraConfig:
        config = self._config
        layers = base.config.get_text_config().num_hidden_layers
        upper = range(layers - min(config.lora_last_layers or layers, layers), layers)
        return peft.LoraConfig(
            r=config.lora_r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=config.lora_target_modules or linear_names(base),
            layers_to_transform=list(upper) if config.lora_last_layers else None,
        )


class QloraLoader(LoraLoader):
    """The base in 4 bits (Dettmers et al. 2023, section 3), adapters in full precision."""

    merge_frozen = False

    def __init__(self, config: QloraConfig, context: Context) -> None:
        super().__init__(config, context)
        self._quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=config.bnb_4bit_quant_type,
            bnb_4bit_use_double_quant=config.bnb_4bit_use_double_quant,
            bnb_4bit_compute_dtype=choose_dtype(context),
            llm_int8_skip_modules=config.skip_modules,
        )

    def _base(self, path: str | None) -> Any:
        device: torch.device = self._context.device
        model = load_causal_lm(
            self._context,
            path,
            quantization_config=self._quantization,
            device_map={"": device},
        )
        _keep_differentiable(model)
        return model


def _keep_differentiable(model: nn.Module) -> None:
    """On some CPUs bitsandbytes repacks weights in the first pass without gradients, for a kernel
    that has no backward: later training passes would lose gradients in silence."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def linear_names(base: Any) -> list[str]:
    """Names of the linear layers of the transformer blocks, which adapters can go on.

    Raises `UserError` when the model has none.
    """
    head = base.get_output_embeddings()
    names = {
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    if not names:
        raise UserError("loader=lora: the model has no linear layer that an adapter could go on")
    return sorted(names)
