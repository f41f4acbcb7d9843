"""What sampler=graph keeps from call to call: it never answers by weights of before."""

import bitsandbytes as bnb
import pytest
import torch
from transformers import LlamaForCausalLM

from rlhfkit.models import spare_memory
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.decoding_weights import DecodingWeights
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers import CachedConfig, GraphConfig, static_batch
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.graph import GraphSampler
from rlhfkit_plugins.samplers.static_decoding import Places
from tests.plugins.samplers.test_graph import ENDS, PROMPTS, adapted, drawn, plain, require_same

LONG = [[3 + place % 40 for place in range(90)], [8]] * 2
OPTIONS = {"response_length": 20, "merge_adapters": False}


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch):
    monkeypatch.setattr(static_batch, "SMALLEST_BUCKET", 2)


@pytest.fixture
def made(monkeypatch):
    """The rows and lengths that room was made for."""
    sizes, like = [], Places.like

    def counted(started, rows, length, *others):
        sizes.append((rows, length))
        return like(started, rows, length, *others)

    monkeypatch.setattr(Places, "like", counted)
    return sizes


def sampler(**options):
    return GraphSampler(GraphConfig(**{"batch_size": 24, **OPTIONS, **options}))


def update(model, seed=0):
    """An optimizer's step: in place, on what is trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.model.named_parameters():
            if model.adapter is None or f".{model.adapter}." in name:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise.to(parameter.device), alpha=0.05)


def require_plain(kept, model, prompts=PROMPTS):
    """It draws what sampler=cached draws now; gives that."""
    options = {**OPTIONS, "temperature": kept.temperature, "batch_size": kept.batch_size.size}
    expected, state = drawn(CachedSampler(CachedConfig(**options)), model, prompts=prompts)
    found, after = drawn(kept, model, prompts=prompts)
    require_same(found, expected)
    assert torch.equal(after, state)
    return [item.ids for item in expected]


@pytest.mark.parametrize("of", [plain, adapted])
def test_three_rollouts_with_updates_between_them(of, made):
    model, kept = of(), sampler()
    rollouts = []
    for seed in range(3):
        rollouts.append(require_plain(kept, model))
        update(model, seed)
    assert rollouts[0] != rollouts[1] != rollouts[2]
    assert made == [(32, 64)]


def test_another_adapter_on_the_same_base():
    model, kept = adapted(), sampler()
    other = LanguageModel(model.model, "other")
    one = require_plain(kept, model)
    assert require_plain(kept, other) != one
    update(other)
    assert require_plain(kept, model) == one
    model.adapter = "other"
    assert require_plain(kept, model) == require_plain(kept, other)


def test_other_temperatures_batches_and_lengths(made):
    model, kept = adapted(), sampler()
    first = require_plain(kept, model)
    kept.temperature = 0.3
    assert require_plain(kept, model) != first
    kept.temperature = 1.0
    kept.batch_size = AdaptiveBatchSize("sampling", 5)
    require_plain(kept, model)
    require_plain(kept, model, LONG)
    kept.batch_size = AdaptiveBatchSize("sampling", 24)
    update(model)
    require_plain(kept, model, PROMPTS[:3])
    require_plain(kept, model, PROMPTS * 2)
    assert made == [(32, 64), (32, 128)]
    require_plain(kept, model)


@pytest.mark.parametrize("moved", ["base_layer", "lora_A", "lora_B", "norm"])
def test_weights_that_are_moved_are_followed(moved, made):
    model, kept = adapted(), sampler()
    first = require_plain(kept, model)
    for name, parameter in model.model.named_parameters():
        if moved in name:
            parameter.data = parameter.data * 1.5
    assert require_plain(kept, model) != first
    assert len(made) == 2


def test_adapters_that_peft_merges_or_turns_off():
    model, kept = adapted(), sampler()
    first = require_plain(kept, model)
    with model.model.disable_adapter():
        assert require_plain(kept, model) != first
    assert require_plain(kept, model) == first
    model.model.merge_adapter(["policy"])
    require_plain(kept, model)


@pytest.mark.parametrize("options", [{"keep": False}, {"merge_adapters": True}])
def test_what_is_not_kept(options, made):
    model, kept = adapted(), sampler(**options)
    for _ in range(2):
        drawn(kept, model)
        assert kept._static is kept._weights is None
    assert len(made) == 2


def test_it_is_released_and_made_anew(made):
    model, kept = adapted(), sampler()
    require_plain(kept, model)
    kept.release()
    assert kept._static is kept._weights is None
    require_plain(kept, model)
    assert len(made) == 2


def test_an_error_leaves_nothing(monkeypatch):
    model, kept = adapted(), sampler()
    drawn(kept, model)
    monkeypatch.setattr(model, "hidden_states", None)
    with pytest.raises(TypeError):
        drawn(kept, model)
    assert kept._static is kept._weights is None


def test_who_runs_out_of_memory_gets_it_before_computing_less(made, capsys, monkeypatch):
    monkeypatch.setattr(spare_memory, "_holders", type(spare_memory._holders)())
    model, kept = adapted(), sampler()
    drawn(kept, model)
    tried = []

    def compute(size):
        tried.append((size, kept._static is None))
        if len(tried) in (1, 3):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return size

    update_size = AdaptiveBatchSize("the update", 8)
    assert update_size.run(8, compute) == 8
    assert capsys.readouterr().out == (
        "out of memory in the update: again, without what sampler=graph keeps from call to call\n"
    )
    drawn(kept, model)
    assert update_size.run(8, compute) == 4
    assert tried == [(8, False), (8, True), (8, True), (4, True)]
    assert len(made) == 2


def quantised():
    """Adapters, of a rank that is joined, on a base in 4 bits, with biases."""
    model = adapted(rank=8)
    for module in list(model.model.modules()):
        linear = getattr(module, "base_layer", None)
        if linear is not None:
            module.base_layer = in_4_bits(linear)
    return model


def in_4_bits(linear):
    made = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=torch.bfloat16,
        quant_type="nf4",
    )
    weight = linear.weight.data.to(torch.bfloat16)
    made.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4").to("cpu")
    made.bias = linear.bias
    return made


READY = {
    "adapters": (adapted, False),
    "full": (plain, False),
    "4 bits": (quantised, False),
    "4 bits unpacked": (quantised, True),
}


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", READY)
@torch.no_grad()
def test_refreshed_weights_are_those_made_anew(name, dtype):
    """Bit by bit, in the same places; biases too."""
    make, dequantise = READY[name]
    model = make()
    model = LanguageModel(model.model, model.adapter, dtype)
    ids = torch.tensor([PROMPTS[2]])

    def logits(weights):
        with weights.installed(), model.autocast():
            return weights.logits(model.hidden_states(ids, None)[0])

    model.hidden_states(ids, None)  # in which bitsandbytes packs weights for a CPU
    weights = DecodingWeights(model, dequantise)
    before, places = logits(weights), [made.data_ptr() for made, _ in weights._copies._made]
    update(model)
    for key, bias in model.model.named_parameters():
        if key.endswith("bias"):
            bias.add_(0.1)
    weights.refresh()
    assert weights.serve(model)
    assert [made.data_ptr() for made, _ in weights._copies._made] == places
    found = logits(weights)
    assert torch.equal(found, logits(DecodingWeights(model, dequantise)))
    assert not torch.equal(found, before)


def test_adapters_of_other_roles_are_not_copied():
    """As many copies as with one adapter: two for each layer, and one of each of its weights."""
    counts = []
    for adapters in (("policy",), ("policy", "other")):
        model = adapted(adapters)
        model = LanguageModel(model.model, "policy", torch.bfloat16)
        counts.append(len(DecodingWeights(model)._copies._made))
    assert counts[0] == counts[1]


def test_the_contract_of_ends_holds_for_kept_places():
    """A shorter answer than the one before leaves nothing of it behind."""
    model, kept = LanguageModel(LlamaForCausalLM(tiny.config()).eval()), sampler()
    long, _ = drawn(kept, model, ends=Ends((-1,)))
    assert {len(item.ids) for item in long} == {20}
    require_same(drawn(kept, model, ends=ENDS)[0], drawn(sampler(), model, ends=ENDS)[0])
