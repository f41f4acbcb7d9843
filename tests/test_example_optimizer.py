"""The example's policy optimizer: its contract, a step by hand, and the page that explains it."""

import textwrap
from pathlib import Path

import pytest
from rlhfkit_brevity import RunningBaselineConfig, optimizer
from rlhfkit_brevity.optimizer import RunningBaseline

from rlhfkit.online.metrics import METRICS
from rlhfkit.storage.catalogue import METRICS_FILE
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.testing import CriticFreeContract
from rlhfkit.testing.online_optimizer import make_rollout

PAGE = Path(__file__).parents[1] / "docs" / "optimizers.md"


class TestRunningBaseline(CriticFreeContract):
    own_metrics = ("objective/baseline",)

    def make(self, context, learning_rate):
        return RunningBaseline(RunningBaselineConfig(learning_rate, baseline_decay=0.5), context)

    def test_advantages_are_rewards_less_the_average_of_earlier_batches(self, optimizer):
        rollout = make_rollout(optimizer.roles)
        assert optimizer.advantages(rollout).flatten().tolist() == pytest.approx([1, -0.5, 0.3, 2])
        optimizer.step(rollout)  # whose mean is 0.7, of which half counts
        found = optimizer.advantages(rollout).flatten().tolist()
        assert found == pytest.approx([0.65, -0.85, -0.05, 1.65])

    def test_a_run_logs_the_baseline_it_used(self, tmp_path):
        context = self.context(tmp_path)
        self.train(context)
        first, second = read_jsonl(context.stage_dir / METRICS_FILE)
        assert first["objective/baseline"] == 0
        assert second["objective/baseline"] == pytest.approx(first["objective/rlhf_reward"] / 2)


def test_the_page_has_the_example_and_every_metric():
    page = PAGE.read_text("utf-8")
    _, start, code = Path(optimizer.__file__).read_text("utf-8").partition("class ")
    assert textwrap.indent(start + code, "    ") in page
    for name, meaning in METRICS.items():
        assert f"| `{name}` | {meaning} |" in page
