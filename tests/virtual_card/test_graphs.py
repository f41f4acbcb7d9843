"""sampler=graph on a card that plays CUDA graphs."""

import json

MOST = 164
"""Operations of a step with two layers: attention and norms are several here, where a card has one
kernel."""


def test_a_recorded_step_draws_what_a_launched_one_draws(card_process):
    """One graph for 32 rows and one for 16; where the model waits for the card there is none, and
    the same tokens."""
    found = json.loads(card_process("-m", "tests.virtual_card.recorded"))
    assert len({len(ids) for ids in found["launched"]}) > 3
    assert found["recorded"] == found["launched"] == found["waiting"]
    assert found["graphs"] == found["graphs in the end"] == 2
    assert found["waits"] == 0
    assert 0 < found["operations"] <= MOST
