"""sampler=graph: the tokens of sampler=cached, from tensors that stay in their places."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaForCausalLM, Qwen2Config

from rlhfkit.models import probing
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig, GraphConfig, cached, static_batch
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.drawing import block_size, draw_in_blocks
from rlhfkit_plugins.samplers.graph import GraphSampler

ENDS = Ends((2, 7))
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6], [5, 6, 7], [3, 4, 5, 6]] * 4


@pytest.fixture(autouse=True)
def unsaid():
    probing.say_once.cache_clear()


def plain():
    return LanguageModel(LlamaForCausalLM(tiny.config()).eval().requires_grad_(False))


def adapted(adapters=("policy", "other"), rank=4):
    """Two adapters on one base, with one key for two queries; the first is the model's."""
    base = AutoModelForCausalLM.from_config(
        Qwen2Config(**{**tiny.config(num_key_value_heads=1).to_dict(), "model_type": "qwen2"})
    )
    config = LoraConfig(r=rank, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"])
    model = get_peft_model(base, config, adapter_name=adapters[0])
    for name in adapters[1:]:
        model.add_adapter(name, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.3)
    return LanguageModel(model.eval(), adapters[0])


MODELS = {"plain": plain, "adapters": adapted}


def drawn(sampler, model, ends=ENDS, prompts=PROMPTS):
    """Responses, and the generator's state behind them."""
    generator = torch.Generator().manual_seed(3)
    return sampler.sample(model, prompts, ends, generator), generator.get_state()


def require_same(one, other):
    assert [item.ids for item in one] == [item.ids for item in other]
    assert [item.ended for item in one] == [item.ended for item in other]
    for item, second in zip(one, other, strict=True):
        assert item.logprobs == pytest.approx(second.logprobs, abs=1e-4)


@pytest.mark.parametrize("made", MODELS)
@pytest.mark.parametrize("options", [{"batch_size": 24}, {"batch_size": 11, "temperature": 0.7}])
@pytest.mark.parametrize("merge", [True, False])
def test_the_tokens_of_the_plain_loop(monkeypatch, made, options, merge):
    """Rows end at different steps, so that others move up into smaller buckets."""
    monkeypatch.setattr(static_batch, "SMALLEST_BUCKET", 2)
    options = {"response_length": 20, "merge_adapters": merge, **options}
    model = MODELS[made]()
    expected, state = drawn(CachedSampler(CachedConfig(**options)), model)
    assert {item.ended for item in expected} == {True, False}
    found, after = drawn(GraphSampler(GraphConfig(**options)), model)
    require_same(found, expected)
    assert torch.equal(after, state)


@pytest.mark.parametrize("length", [1, 2])
def test_short_responses(length):
    model, options = plain(), {"response_length": length}
    expected, _ = drawn(CachedSampler(CachedConfig(**options)), model)
    require_same(drawn(GraphSampler(GraphConfig(**options)), model)[0], expected)


def test_the_layers_are_as_before():
    model = adapted()
    before = [vars(module).get("forward") for module in model.model.modules()]
    drawn(GraphSampler(GraphConfig(response_length=4, merge_adapters=False)), model)
    assert [vars(module).get("forward") for module in model.model.modules()] == before


@pytest.mark.parametrize("vocabulary", [64, 97, 1000])
def test_blocks_draw_what_the_plain_way_draws(vocabulary):
    logits = torch.randn(4000, vocabulary, generator=torch.Generator().manual_seed(0)) * 3
    logits[:, 5:9] = -torch.inf
    uniform = torch.rand(4000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tokens, logprobs = draw_in_blocks(logits, uniform)
    expected, others = cached._draw(logits, uniform)
    assert torch.equal(tokens, expected)
    torch.testing.assert_close(logprobs, others)


@pytest.mark.parametrize(("number", "token"), [(0.0, 2), (1.0, 5), (0.25, 4), (0.2499, 2)])
def test_tokens_without_probability_are_never_drawn(number, token):
    probs = torch.tensor([[0, 0, 0.25, 0, 0.25, 0.5, 0, 0, 0]])
    tokens, _ = draw_in_blocks(probs.log(), torch.tensor([[number]]))
    assert tokens.tolist() == [token]


@pytest.mark.parametrize(("vocabulary", "size"), [(151936, 128), (128256, 334), (97, 1)])
def test_block_sizes(vocabulary, size):
    assert block_size(vocabulary) == size
