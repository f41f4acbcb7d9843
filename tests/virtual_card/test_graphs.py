"""sampler=graph on a card that plays CUDA graphs."""

import json

import pytest

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


@pytest.fixture(scope="module")
def rollouts(card_process, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return json.loads(card_process("-m", "tests.virtual_card.kept", str(folder)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["adapters", "full", "4 bits", "4 bits unpacked"])
def test_later_rollouts_record_nothing_and_follow_the_weights(rollouts, name, dtype):
    """In half precision ready weights are copies, which an update does not reach by itself."""
    found = rollouts[f"{name} in {dtype}"]
    assert found["wrong"] == []
    assert found["graphs"] == [1, 0, 0]
    assert min(found["different"]) > 3


def test_what_is_not_kept_is_recorded_in_every_rollout(rollouts):
    found = rollouts["not kept"]
    assert found["wrong"] == []
    assert found["graphs"] == [1, 1, 1]


def test_graphs_are_recorded_for_what_is_new_alone(rollouts):
    """Not for fewer rows of the same number; for another temperature and for much longer or much
    shorter texts once."""
    found = rollouts["changing"]
    assert found["wrong"] == []
    assert found["graphs"] == [1, 0, 1, 1, 1, 0]


def test_a_run_records_in_its_first_rollout(rollouts):
    """What is kept is there while the policy is updated, and not where it is not wanted."""
    kept, not_kept = rollouts["run"], rollouts["run, not kept"]
    assert kept["graphs"][0] > 0
    assert len(kept["graphs"]) > 1
    assert sum(kept["graphs"][1:]) == 0
    assert min(not_kept["graphs"]) > 0
    assert min(kept["bytes"]) > max(not_kept["bytes"])
