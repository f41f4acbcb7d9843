"""Models of random weights, as the memory benchmark and the plan make them."""

import torch
from transformers import AutoConfig, BitsAndBytesConfig

from rlhfkit.models.from_config import causal_lm_from_config

QWEN2 = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 32,
}


def test_the_biases_of_quantised_layers_are_zero():
    """Memory that was free before was not: half of it held numbers of earlier tensors."""
    used = [torch.full((64,), float("nan")) for _ in range(1000)]
    del used
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    config = AutoConfig.for_model("qwen2", **QWEN2)
    model = causal_lm_from_config(config, torch.float32, torch.device("cpu"), quantization)
    biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
    assert len(biases) == 6
    assert all((bias == 0).all() for bias in biases)
    assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()
