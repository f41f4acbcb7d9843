"""Every reward function keeps to the contract; that of `server` is asked in test_server.py."""

import pytest

from rlhfkit.testing import RewardFunctionContract, tiny

COMPONENTS = {
    "length": ["reward.length.max=1"],
    "format": [],
    "sentiment": [],
    "gold": [],
    "reward_model": ["reward.reward_model.path={classifier}"],
}


class TestReward(RewardFunctionContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request, make_context, tmp_path):
        tiny.classifier(tmp_path / "classifier")
        self.name, path = request.param, tmp_path / "classifier"
        options = [option.format(classifier=path) for option in COMPONENTS[self.name]]
        self.context = make_context(f"reward=[{self.name}]", *options)

    def make(self):
        return self.context.build_all("reward")[self.name]
