"""Sharing rows, gathering results and summing gradients: in two processes, and alone."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlhfkit.config.run import CheckpointConfig
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.storage.checkpoints import Checkpoints
from tests.distributed.launching import launch

ROWS = (0, 1, 2, 5)


@given(rows=st.lists(st.integers()), count=st.integers(1, 9))
def test_shares_are_all_rows_in_order(rows, count):
    with pytest.MonkeyPatch.context() as patch:
        shares = []
        for rank in range(count):
            for name, value in (("LOCAL_RANK", rank), ("RANK", rank), ("WORLD_SIZE", count)):
                patch.setenv(name, str(value))
            shares.append(processes.local_shard(rows))
    assert [row for share in shares for row in share] == rows
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where `tests.distributed.programs` writes, with a `stage` beside it."""
    return tmp_path_factory.mktemp("programs") / "found.json"


@pytest.fixture(scope="module")
def found(place):
    """What `tests.distributed.programs` finds in two processes."""
    done = launch(2, place, module="tests.distributed.programs")
    assert done.returncode == 0, done.stderr
    return json.loads(place.read_text())


def test_rows_come_back_in_their_order(found):
    assert found["count"] == 2
    assert found["gathered"] == [list(range(n)) for n in ROWS]
    assert found["shared"] == [[2 * row for row in range(n)] for n in ROWS]
    assert found["tensors"] == [
        [[row] * (row + 1) if row else 0.0 for row in range(n)] for n in ROWS
    ]


def test_a_shared_computation_is_alone(found):
    assert found["inside"] == [[1, True]] * 2


def test_gradients_are_summed_and_none_are_made_up(found):
    assert found["gradients"] == [[3.0] * 4, [3.0] * 4, None]
    assert found["total"] == 3.0


def test_the_main_process_acts_by_itself(found):
    assert found["by_main"] == ["main"]


def test_every_process_makes_as_many_groups_as_the_one_with_most(found):
    assert found["evened"] == [[5], [6], [7], [1], [2, 3], [4]]


def test_every_process_draws_other_samples(found):
    assert len(set(found["draws"])) == 2


def test_every_process_goes_on_with_its_own_random_numbers(found):
    assert found["resumed"] == [True, True]


def test_a_checkpoint_of_two_processes_is_refused_by_one(found, place):
    checkpoints = Checkpoints(place.parent / "stage", CheckpointConfig())
    with pytest.raises(UserError, match=r"saved by 2 processes, and now there are 1: .*=stage to"):
        checkpoints.load()
    assert checkpoints.load(of_any_number=True) is not None


def test_a_single_process_keeps_what_it_has():
    rows, parameter = [torch.ones(2)], torch.nn.Parameter(torch.ones(2))
    parameter.grad = grad = torch.full((2,), 0.1)
    processes.sum_gradients([parameter])
    assert parameter.grad is grad
    assert processes.gather(rows) is rows
    assert processes.gather_tensors(rows)[0] is rows[0]
    assert processes.all_reduce_sum(grad) is grad
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("kind", "message", "status"),
    [("mistake", "rlhfkit: no luck", 2), ("bug", "RuntimeError: no luck at all", 1)],
)
def test_one_process_that_fails_ends_all_with_one_message(kind, message, status):
    done = launch(2, kind, module="tests.distributed.failing")
    assert done.returncode == 1
    ours = done.stderr.split("torch.distributed.elastic")[0].split("torch/distributed/elastic")[0]
    assert ours.count(message) == 1
    assert "onnection" not in ours
    assert f"exitcode  : {status}" in done.stderr
