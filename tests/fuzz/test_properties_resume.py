"""Records: any file is a record or a line, and a stage is finished only with the same settings."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlhfkit.errors import UserError
from rlhfkit.runner.reuse import Lenders, take_over
from rlhfkit.storage.run_dir import RunDir, StageRecord
from rlhfkit.storage.state_file import load_state, save_state
from tests.fuzz.json_values import JSON

FINITE = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
)
NAMES = st.text(alphabet="abc.", min_size=1, max_size=5)
SETTINGS = st.dictionaries(NAMES, FINITE | st.lists(FINITE, max_size=2), max_size=4)
INPUTS = st.dictionaries(NAMES, st.text(alphabet="01", max_size=3), max_size=2)
ONE_FOLDER = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def finished(root, record):
    run_dir = RunDir(root)
    (run_dir.begin(record.stage) / "weights").write_text("12345")
    run_dir.complete(record)
    return run_dir


@given(SETTINGS, INPUTS, st.floats(0, 1e6))
@ONE_FOLDER
def test_a_record_is_read_as_it_was_written(tmp_path, options, inputs, seconds):
    wanted = StageRecord("sft", options, inputs, seconds)
    found = finished(tmp_path, wanted).record("sft")
    assert found.differences(wanted) == {}
    assert found.digest == wanted.digest
    assert found.seconds == seconds


@given(SETTINGS, INPUTS, SETTINGS, INPUTS)
def test_differences_are_what_differs(mine, my_inputs, theirs, their_inputs):
    one, other = StageRecord("sft", mine, my_inputs), StageRecord("sft", theirs, their_inputs)
    differing = one.differences(other)
    assert differing == {key: pair[::-1] for key, pair in other.differences(one).items()}
    ours, others = {**mine, **my_inputs}, {**theirs, **their_inputs}
    for key in ours.keys() | others.keys():
        if (ours.get(key), others.get(key)) in ((0, False), (False, 0), (1, True), (True, 1)):
            continue  # equal to Python
        assert (key in differing) == (ours.get(key) != others.get(key))
    assert one.differences(one) == {}


@given(JSON | st.fixed_dictionaries(
    {"stage": st.just("sft")},
    optional={"settings": JSON, "inputs": JSON, "seconds": JSON, "outputs": JSON},
))  # fmt: skip
@settings(ONE_FOLDER, max_examples=200)
def test_any_json_is_a_record_or_a_line(tmp_path, value):
    run_dir = RunDir(tmp_path)
    run_dir.begin("sft")
    (tmp_path / "sft" / "stage.json").write_text(json.dumps(value))
    record, told = None, ""
    try:
        record = run_dir.record("sft")
    except UserError as error:
        told = str(error)
    assert ("force_from=sft" in told) == (record is None)
    assert len(told.splitlines()) <= 1
    if record is not None:
        assert record.stage == "sft"
        record.differences(StageRecord("sft", {}, {}))
        assert record.digest
        assert f"{record.seconds:.0f}"


@given(SETTINGS, SETTINGS)
@ONE_FOLDER
def test_another_runs_stage_is_taken_over_when_it_is_the_same(tmp_path, theirs, mine):
    lender = finished(tmp_path / "lender", StageRecord("sft", theirs, {}))
    borrower, wanted = RunDir(tmp_path / "borrower"), StageRecord("sft", mine, {})
    found = Lenders(str(lender.root), borrower).find(wanted)
    assert (found is not None) == (lender.record("sft").differences(wanted) == {})
    if found is not None:
        take_over("sft", found, borrower)
        assert borrower.record("sft") == lender.record("sft")


STATES = st.recursive(
    FINITE | st.builds(torch.full, st.tuples(st.integers(0, 3)), st.floats(-2, 2)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=True)
        return all(key == name and same(a, b) for (key, a), (name, b) in pairs)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(same, one, other)) and len(one) == len(other)
    return type(one) is type(other) and one == other


@given(STATES)
@ONE_FOLDER
def test_any_state_comes_back_as_it_was(tmp_path, state):
    save_state(tmp_path / "state", state)
    assert same(state, load_state(tmp_path / "state"))


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j])
def test_what_cannot_be_held_is_told_before_it_is_written(tmp_path, value):
    with pytest.raises(TypeError, match="a checkpoint cannot hold"):
        save_state(tmp_path / "state", {"a": value})
    assert not list(tmp_path.iterdir())
