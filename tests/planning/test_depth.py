"""Shallow models tell what deep ones take."""

from collections import Counter

import pytest
from transformers import Gemma3TextConfig, LlamaConfig

from rlhfkit.planning.depth import depths, shallow, weighted_sum
from rlhfkit.planning.meter import Reading


def lower_and_upper(depth):
    upper = depth.layers if depth.last_layers is None else depth.last_layers
    return depth.layers - upper, upper


@pytest.mark.parametrize(("layers", "last"), [(30, None), (30, 10), (28, 4), (5, None), (3, 2)])
def test_the_weights_give_back_any_even_growth(layers, last):
    """1, the lower layers and the upper ones must come out as they are in the deep model."""
    found = depths(LlamaConfig(num_hidden_layers=layers), last)
    assert all(1 <= depth.layers <= layers for depth in found)
    assert sum(depth.weight for depth in found) == pytest.approx(1)
    for kind, wanted in enumerate((layers - (last or layers), last or layers)):
        total = sum(depth.weight * lower_and_upper(depth)[kind] for depth in found)
        assert total == pytest.approx(wanted)


def test_shallow_models_keep_the_pattern_of_their_layers():
    config = Gemma3TextConfig(num_hidden_layers=36)
    for depth in depths(config, None):
        made = shallow(config, depth)
        assert made.num_hidden_layers == len(made.layer_types) == depth.layers
        share = made.layer_types.count("full_attention") / depth.layers
        assert share == config.layer_types.count("full_attention") / 36
    assert config.num_hidden_layers == 36


def test_readings_add_up_by_phase_and_part():
    one = {"sft": Reading(1.0, {True: Counter(base=10, logits=4)})}
    two = {"sft": Reading(2.0, {True: Counter(base=20, logits=4)})}
    found = weighted_sum([(-3.0, one), (4.0, two)])["sft"]
    assert found.seconds == 5.0
    assert found.peaks == {True: Counter(base=50, logits=4)}
