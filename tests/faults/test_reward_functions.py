"""Reward functions that raise, or return what is not one finite number each."""

import subprocess
import sys

import pytest
import torch

from rlhfkit.config.stages import RlConfig
from rlhfkit.errors import Stopped
from rlhfkit.online.scoring import Scorer
from rlhfkit.types import Response

RAISING = """
import sys
from rlhfkit.commands.main import main
from rlhfkit_plugins.rewards.length import LengthReward
def broken(self, prompts, completions, **columns):
    return [1 / 0 for _ in completions]
LengthReward.__call__ = broken
main(sys.argv[1:])
"""


def test_one_that_raises_keeps_its_traceback_and_is_named(tiny_overrides, tmp_path):
    options = ["stages=[rl]", "reward=[length]", "optimizer=rloo", f"run_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-c", RAISING, "run_name=x", *tiny_overrides, *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert any("in broken" in line for line in lines)
    assert lines[-3:-1] == ["ZeroDivisionError: division by zero", "(raised by reward=length)"]
    assert lines[-1].startswith("stage rl failed; resume with: rlhfkit run_name=x ")


def score(*returned):
    """Two completions, and a reward function for each list."""
    rewards = {
        f"r{place}": lambda *_, values=values, **__: values for place, values in enumerate(returned)
    }
    responses = [Response([1], [0.0], True)] * 2
    prompts = [[{"role": "user", "content": "red"}]] * 2
    return Scorer(rewards, dict.fromkeys(rewards, 1.0), RlConfig())(
        prompts, ["a", "b"], [[1]] * 2, responses
    )[0]


@pytest.mark.parametrize(
    "returned", [[1, 2.5], (1, 2.5), torch.tensor([1, 2.5]), [torch.tensor(1), 2.5]]
)
def test_numbers_of_any_kind(returned):
    assert score(returned).tolist() == [1, 2.5]


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ([1.0], "returned 1 number for 2 completions"),
        ([1.0] * 3, "returned 3 numbers for 2 completions"),
        (1.0, "returned 1.0 and no list of numbers"),
        (None, "returned None and no list of numbers"),
        ([1.0, None], "returned None for completion 2 of 2, which is not finite"),
        (["good", 1.0], "returned 'good' for completion 1 of 2"),
        ([1.0, float("nan")], "returned nan for completion 2 of 2"),
        ([1e39, 1.0], r"returned 1e\+39 for completion 1 of 2"),
        ([10**400, 1.0], "for completion 1 of 2"),
        (torch.zeros(2, 2), "for completion 1 of 2"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value)[:12],
)
def test_ones_that_return_the_wrong_thing(returned, says):
    with pytest.raises(Stopped, match="reward r1: returned") as error:
        score([0.0, 0.0], returned)
    with pytest.raises(Stopped, match=says):
        score([0.0, 0.0], returned)
    assert "\n" not in str(error.value)
