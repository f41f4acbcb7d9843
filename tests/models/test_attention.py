"""model.attn_implementation: the same numbers by each way, and refusals in one line."""

from dataclasses import replace

import pytest
import torch

from rlhfkit.context import DryRun
from rlhfkit.errors import UserError
from rlhfkit.models.attention import check_attention
from rlhfkit.models.loading import load_causal_lm, load_config
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.graph import GraphSampler

PROMPTS = [[5, 6, 7], [8], [5, 6, 7], [9, 10, 11, 12, 13]]


@pytest.fixture
def context(make_context, tmp_path):
    """`context("eager")`: of a run on a tiny model, with further overrides."""
    tiny.language_model(tmp_path / "base")

    def make(name, *overrides):
        path = f"model.path={tmp_path / 'base'}"
        sizes = ("loader=full", "sampler.response_length=6", path)
        return make_context(f"model.attn_implementation={name}", *sizes, *overrides)

    return make


@pytest.mark.parametrize(
    ("sampler", "kind"), [("cached", CachedSampler), ("graph", GraphSampler), ("continuous", None)]
)
def test_eager_has_the_log_probabilities_of_sdpa(context, sampler, kind):
    """Of samples, and of the teacher-forced pass over prompts that share a row."""
    found = {}
    for name in ("null", "sdpa", "eager"):
        made = context(name, f"sampler={sampler}")
        model = made.build("loader").language_model(None)
        assert model.base.config._attn_implementation == ("eager" if name == "eager" else "sdpa")
        drawing = made.build("sampler").for_model(model)
        assert kind is None or type(drawing) is kind
        drawn = drawing.sample(model, PROMPTS, Ends((2,)), torch.Generator().manual_seed(0))
        batch = model.batch(PROMPTS, [response.ids for response in drawn])
        found[name] = drawn, model.response_logprobs(batch)[0].detach()
    for name in ("null", "eager"):
        for one, other in zip(found[name][0], found["sdpa"][0], strict=True):
            assert one.ids == other.ids
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
        torch.testing.assert_close(found[name][1], found["sdpa"][1], rtol=0, atol=1e-5)
    assert not torch.equal(found["eager"][1], found["sdpa"][1])  # another way of computing


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("sdp", [], "no attention that works here; did you mean 'sdpa'?"),
        ("flash_attn", [], "'flash_attention_2'?; a kernel of the hub is named as kernels-"),
        ("flex_attention", [], "no attention that works here"),
        ("flash_attention_2", [], "in half precision only, and this run in float32 on CPU"),
        ("flash_attention_2", ["model.dtype=bfloat16"], "doesn't seem to be installed"),
        ("kernels-community/x", [], "`kernels` is either not installed or uses an incompatible"),
    ],
)
def test_what_does_not_work_here_is_refused(context, monkeypatch, name, overrides, said):
    monkeypatch.setattr("transformers.integrations.hub_kernels.is_kernels_available", lambda: False)
    made = context(name, *overrides)
    with pytest.raises(UserError) as error:
        check_attention(made, load_config(made))
    assert str(error.value).startswith(f"model.attn_implementation={name}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_plan_counts_the_attention_it_can(context):
    for name, planned in (("eager", "eager"), ("flash_attention_2", "sdpa")):
        made = replace(context(name), dry_run=DryRun("cpu"))
        assert load_causal_lm(made).config._attn_implementation == planned
    with pytest.raises(UserError, match="did you mean 'eager'"):
        load_causal_lm(replace(context("eagre"), dry_run=DryRun("cpu")))


def test_recorded_steps_need_an_attention_that_takes_masks(context):
    made = context("flash_attention_2", "sampler=graph")
    with pytest.raises(UserError, match="sampler=graph: needs an attention that takes masks"):
        made.factory("sampler", made.config.sampler).check_run(made.config.sampler, made)
