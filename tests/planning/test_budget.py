"""Sizes of cards, and the search for settings that fit."""

import pytest
import torch

from rlhfkit.config.memory_size import read_size
from rlhfkit.errors import UserError
from rlhfkit.planning.budget import nearest_fit
from rlhfkit.planning.card import Card, card_of
from rlhfkit.planning.plan import PhasePlan

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "size"), [("12GB", 12 * GIB), ("7.5 GiB", 7.5 * GIB), ("800mb", 800 * 2**20)]
)
def test_sizes(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["12", "GB", "12TB", "1.2.3GB", "-4GB"])
def test_what_is_no_size(text):
    with pytest.raises(UserError, match="write it as in gpu=12GB"):
        read_size(text)


def test_a_card_keeps_some_for_itself():
    assert Card(12 * GIB).usable == pytest.approx(10.55 * GIB)


@pytest.fixture
def search(make_context):
    """`search("loader=lora", peak=..., base=...)`: peaks as functions of the options."""

    def run(*overrides, peak, base=lambda config: 1.0, stage="rl", phase="update", limit=10.0):
        def configure(more):
            return make_context(*overrides, *more).config

        def plan(config, _stage):
            parts = {"base": base(config), "activations": peak(config) - base(config)}
            return {phase: PhasePlan(stage, parts, 1.0, True)}

        return nearest_fit(plan(configure([]), stage), limit, configure, plan)

    return run


def test_checkpointing_comes_first_then_smaller_micro_batches(search):
    def peak(config):
        rl = config.stage.rl
        return rl.micro_batch_size * (3.0 if rl.gradient_checkpointing else 30.0)

    found = search("stage.rl.micro_batch_size=16", peak=peak)
    assert found == ["stage.rl.gradient_checkpointing=true", "stage.rl.micro_batch_size=2"]


def test_a_sampler_first_keeps_nothing(make_context):
    """Where that is not enough, what comes next is as without it."""

    def configure(more):
        return make_context("sampler=graph", "stage.rl.micro_batch_size=16", *more).config

    def plan(config, _stage):
        kept = 4.0 if config.sampler.keep else 0.0
        parts = {"base": 1.0, "activations": 8.0, "KV cache": kept}
        return {"update": PhasePlan("rl", parts, 1.0, True)}

    found = nearest_fit(plan(configure([]), "rl"), 10.0, configure, plan)
    assert found == ["sampler.keep=false"]
    assert nearest_fit(plan(configure([]), "rl"), 14.0, configure, plan) == []


def test_micro_batches_in_tokens_are_halved_down_to_one_longest_episode(search):
    options = ("stage.rl.micro_batch_tokens=3072", "stage.rl.gradient_checkpointing=true")
    lengths = ("model.max_prompt_length=512", "sampler.response_length=256")
    found = search(*options, *lengths, peak=lambda config: config.stage.rl.micro_batch_tokens / 200)
    assert found == ["stage.rl.micro_batch_tokens=1536"]
    assert search(*options, *lengths, peak=lambda config: 11.0) is None


def test_a_smaller_training_batch_is_made_up_for(search):
    found = search(
        "stage.sft.per_device_train_batch_size=4",
        "stage.sft.gradient_checkpointing=true",
        stage="sft",
        phase="sft",
        peak=lambda config: 6.0 * config.stage.sft.per_device_train_batch_size,
    )
    assert found == [
        "stage.sft.per_device_train_batch_size=1",
        "stage.sft.gradient_accumulation_steps=4",
    ]


def test_a_base_that_is_too_large_goes_to_4_bits(search):
    def base(config):
        return 4.0 if config.loader.name == "qlora" else 16.0

    assert search("loader=lora", base=base, peak=lambda config: base(config) + 1) == [
        "loader=qlora"
    ]
    assert search("loader=qlora", base=lambda config: 11.0, peak=lambda config: 12.0) is None


def test_nothing_helps(search):
    assert search("sampler.batch_size=2", phase="rollout", peak=lambda config: 11.0) is None


@pytest.mark.parametrize(
    ("free", "taken"), [(23.5, 0.0), (22.0, 1.15)], ids=["idle", "a desktop runs on it"]
)
def test_what_others_take_of_a_card_is_not_counted_on(monkeypatch, make_context, free, taken):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free * GIB), 24 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
    card = card_of(make_context().config)
    assert card.taken == pytest.approx(taken * GIB)
    assert card.usable == pytest.approx(Card(24 * GIB).usable - taken * GIB)
