"""The roles as four models of their own, by peft and transformers alone: what sharing one base
must be equal to."""

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.scalar_model import ScalarModel

NF4 = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=torch.float32,
    llm_int8_skip_modules=["lm_head"],
)


def base_model(path, loader):
    options = {"quantization_config": NF4, "device_map": {"": "cpu"}} if loader == "qlora" else {}
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, **options)
    for module in model.modules():  # a kernel of some CPUs that has no backward
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model.requires_grad_(False)


def adapted(base, adapter, loader, *, trainable=False):
    """A PEFT model with one adapter, not merged."""
    return PeftModel.from_pretrained(base_model(base, loader), adapter, is_trainable=trainable)


def roles(base, sft, reward, loader):
    def scalar(trainable):
        head = nn.Linear(64, 1).requires_grad_(trainable)
        head.load_state_dict(load_file(f"{reward}/head.safetensors"))
        body = adapted(base, reward, loader, trainable=trainable)
        return ScalarModel(LanguageModel(body, "default"), head)

    return RoleModels(
        policy=LanguageModel(adapted(base, sft, loader, trainable=True), "default"),
        reference=LanguageModel(adapted(base, sft, loader), "default"),
        value=scalar(True),
        reward=scalar(False),
    )
