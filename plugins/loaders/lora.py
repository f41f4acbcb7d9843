"""loader=lora and loader=qlora: every role is an adapter, with a head where it needs one, on one
base (full precision or 4 bits)."""

import json
import warnings
from pathlib import Path
from typing import Any

import peft
import torch
from peft import PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import nn
from transformers import BitsAndBytesConfig

from rlhfkit.context import Context
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.loading import (
    ADAPTER_FILE,
    is_adapter,
    load_causal_lm,
    loading,
)
from rlhfkit.models.merging import merges_exactly
from rlhfkit.models.quantised import is_quantised, keep_differentiable
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.models.trust import adapter_weights
from rlhfkit.models.verification import shared_depth, verified
from rlhfkit.rl.onednn import use_onednn
from rlhfkit_plugins.loaders import LoraConfig, QloraConfig
from rlhfkit_plugins.loaders.heads import head_of
from rlhfkit_plugins.loaders.targets import target_modules

_TRAINED = "default"
"""PEFT's own name for the adapter of a model that has only one."""


_PROMPT_LEARNING = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT")


class LoraLoader:
    """Adapters on one base; the roles of RL share it in memory."""

    merge_frozen = True
    """Whether a frozen adapter is added into its base on loading: exact enough and much faster,
    but not on quantised weights, stored so or not, which would round it away."""

    def __init__(self, config: LoraConfig, context: Context) -> None:
        self._config = config
        self._context = context

    def language_model(self, path: str | None, *, trainable: bool = False) -> LanguageModel:
        base = self._base(None if is_adapter(path) else path)
        if not trainable and not is_adapter(path):
            return self._view(base.requires_grad_(False))
        model = self._with_adapter(base, _TRAINED, path, trainable)
        exact = self.merge_frozen and not is_quantised(base) and merges_exactly(model)
        if not trainable and exact:
            merged = self._view(model.merge_and_unload().requires_grad_(False))
            merged.merged_from = path
            return merged
        return self._view(model, _TRAINED)

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
        self._with_adapter(model, "policy", adapter, trainable=True)
        self._with_adapter(model, "value", reward_model or adapter, trainable=True)
        policy = self._view(model, "policy")
        value_head = head_of(reward_model, policy.hidden_size)
        reward = self._reward(model, reward_model) if reward_model else None
        model.eval()
        return RoleModels(
            policy=policy,
            reference=self._view(model, "reference"),
            value=ScalarModel(self._view(model, "value"), value_head),
            reward=reward,
            shared_depth=shared_depth(self._context, policy) if self._config.share_lower else 0,
        )

    def _reward(self, model: Any, path: str) -> ScalarModel:
        self._with_adapter(model, "reward", path, trainable=False)
        body = self._view(model, "reward")
        return ScalarModel(body, head_of(path, body.hidden_size).requires_grad_(False))

    def _view(self, model: Any, adapter: str | None = None) -> LanguageModel:
        """A model, or one adapter of it, as the stages see it."""
        compute_dtype = self._context.precision.autocast
        if compute_dtype is not None:
            _keep_inputs(model)
        use_onednn(model)
        share_prompts = self._context.config.model.share_prompts
        view = LanguageModel(model, adapter, compute_dtype, share_prompts=share_prompts)
        return verified(self._context, view)

    def _base(self, path: str | None) -> Any:
        model = load_causal_lm(self._context, path)
        keep_differentiable(model)
        return model

    def _with_adapter(self, model: Any, name: str, path: str | None, trainable: bool) -> Any:
        """A base or PEFT model with one more adapter: stored, or fresh and without effect."""
        if is_adapter(path):
            assert path is not None
            return self._with_stored(model, name, path, trainable)
        if isinstance(model, PeftModel):  # then the first adapter is fresh too
            model.add_adapter(name, next(iter(model.peft_config.values())))
            return model
        config = self._fresh_config(model)
        with loading(f"{model.name_or_path}: a fresh adapter"):
            return get_peft_model(model, config, adapter_name=name)

    def _with_stored(self, model: Any, name: str, path: str, trainable: bool) -> Any:
        self._check_base(path)
        weights = adapter_weights(path)
        options = {"adapter_name": name, "is_trainable": trainable}
        with loading(f"{path}: the adapter"), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            try:
                if isinstance(model, PeftModel):
                    model.load_adapter(path, **options)
                else:
                    model = PeftModel.from_pretrained(model, path, **options)
            except UserWarning as error:  # some of its weights found no place
                raise self._misfit(path) from error
            except RuntimeError as error:
                if "size mismatch" in str(error):
                    raise self._misfit(path) from error
                raise
        if not _is_whole(model, name, weights):
            raise self._misfit(path)
        return model

    def _misfit(self, path: str) -> UserError:
        base = self._context.config.model.path
        return UserError(f"{path}: the adapter does not fit {base}: layers or widths differ")

    def _check_base(self, path: str) -> None:
        with loading(f"{path}: the adapter"):
            stored = json.loads((Path(path) / ADAPTER_FILE).read_text(encoding="utf-8"))
            base = stored.get("base_model_name_or_path")
            kind = stored.get("peft_type", "LORA")
        if kind in _PROMPT_LEARNING:
            raise UserError(
                f"{path}: a {kind} adapter puts tokens of its own before every text; only adapters "
                f"on a model's layers, as LoRA's, can be trained or sampled from here"
            )
        wanted = self._context.config.model.path
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
            target_modules=target_modules(base, config.lora_target_modules),
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
            bnb_4bit_compute_dtype=context.precision.weights,
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
        keep_differentiable(model)
        _check_head(model)
        return model


def _is_whole(model: Any, name: str, weights: Path) -> bool:
    """Whether every stored tensor found its place and no place was left over; PEFT only warns."""
    with safe_open(str(weights), framework="pt") as stored:
        found = sum("lora_" in key for key in stored.keys())  # noqa: SIM118
    names = [key.split(".") for key, _ in model.named_parameters() if "lora_" in key]
    return found == sum(name in parts for parts in names)


def _check_head(model: Any) -> None:
    """The LM head's weight is read without its module, so it must not be packed into 4 bits."""
    head = model.get_output_embeddings()
    if not head.weight.is_floating_point():
        name = next(name for name, module in model.named_modules() if module is head)
        raise UserError(f"loader.skip_modules: must have '{name}', the LM head of this model")


def _keep_inputs(model: nn.Module) -> None:
    """Under autocast PEFT's own cast of every layer's input to float32 would be undone at once, but
    each layer would keep a copy of its input for the backward pass."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False
