"""The built-in evaluators that need texts alone keep to the contract."""

import pytest

from rlhfkit.testing import EvaluatorContract
from rlhfkit_plugins.evaluators import PolicyStatisticsConfig, WinRateConfig
from rlhfkit_plugins.evaluators.statistics import PolicyStatistics
from rlhfkit_plugins.evaluators.win_rate import WinRate


class _WithContext(EvaluatorContract):
    @pytest.fixture(autouse=True)
    def _context(self, make_context, tiny_overrides):
        self.context = make_context(*tiny_overrides, "reward=[length]")


class TestWinRate(_WithContext):
    def make(self):
        return WinRate(WinRateConfig(resamples=50), self.context)


class TestPolicyStatistics(_WithContext):
    def make(self):
        return PolicyStatistics(PolicyStatisticsConfig(resamples=50), self.context)
