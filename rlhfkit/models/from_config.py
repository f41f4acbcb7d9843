"""A causal model from its configuration alone, without stored weights.

Two users: the planner builds models of fake tensors (shapes without storage), and the memory
benchmark models of random weights. Layers are made and quantised one at a time, so that a model
never exists in full precision when it is to be kept in 4 bits.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from transformers import AutoModelForCausalLM
from transformers.integrations.bitsandbytes import replace_with_bnb_linear


def causal_lm_from_config(
    config: Any,
    dtype: torch.dtype,
    device: torch.device,
    quantization: Any = None,
    trust_remote_code: bool = False,
    attn_implementation: str | None = None,
) -> Any:
    """A transformers model with weights as its class initialises them.

    quantization: a BitsAndBytesConfig for 4 bits, or None. Under a FakeTensorMode the result holds
    fake tensors and costs no memory.
    """
    attention = {"attn_implementation": attn_implementation} if attn_implementation else {}
    with _disable_current_modes(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, trust_remote_code=trust_remote_code, **attention
        )
        if quantization is not None:
            model.tie_weights()
            replace_with_bnb_linear(model, quantization.llm_int8_skip_modules, quantization)
    if quantization is not None:
        _quantise(model, quantization, dtype, device)
    for module in model.modules():
        _materialise(module, device)
    model.tie_weights()
    with torch.no_grad():
        model.initialize_weights()
    return model.eval()


def _quantise(model: Any, quantization: Any, dtype: torch.dtype, device: torch.device) -> None:
    from bitsandbytes.nn import Linear4bit

    std = getattr(model.config.get_text_config(), "initializer_range", 0.02)
    for module in model.modules():
        if isinstance(module, Linear4bit):
            shape = (module.out_features, module.in_features)
            weight = torch.empty(shape, dtype=dtype, device=device).normal_(std=std)
            _set_4bit(module, weight, quantization)
            if module.bias is not None:  # the class's own initialisation passes the layer over
                bias = torch.zeros(module.out_features, dtype=dtype, device=device)
                module.bias = nn.Parameter(bias, requires_grad=False)
    model.is_loaded_in_4bit = model.is_quantized = True
    model.config.quantization_config = quantization


def _set_4bit(layer: Any, weight: Tensor, quantization: Any) -> None:
    """What bitsandbytes does on loading, also for fake tensors, which its own class of parameters
    cannot hold."""
    from bitsandbytes.functional import quantize_4bit
    from bitsandbytes.nn import Params4bit

    options = {
        "quant_type": quantization.bnb_4bit_quant_type,
        "compress_statistics": quantization.bnb_4bit_use_double_quant,
        "quant_storage": quantization.bnb_4bit_quant_storage,
    }
    packed, state = quantize_4bit(weight, **options)
    parameter: Any
    if type(packed) is Tensor:
        parameter = Params4bit(
            packed, False, quant_state=state, bnb_quantized=True, module=layer, **options
        )
    else:
        parameter = nn.Parameter(packed, requires_grad=False)
        vars(parameter).update(options, quant_state=state, bnb_quantized=True)
    layer.weight = parameter
    layer.quant_state = state
    layer._is_hf_initialized = True


def _materialise(module: nn.Module, device: torch.device) -> None:
    """Give a module's own parameters and buffers storage; their values are set afterwards."""
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.is_meta:
            empty = torch.empty_like(parameter, device=device)
            module.register_parameter(name, nn.Parameter(empty, requires_grad=False))
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_meta:
            persistent = name not in module._non_persistent_buffers_set
            module.register_buffer(name, torch.empty_like(buffer, device=device), persistent)
