"""Every labeler keeps to the contract but `imported` and `people`, which have rankings and judge
nothing."""

import pytest

from rlhfkit.testing import LabelerContract, tiny

COMPONENTS = {"simulated": [], "reward_model": ["labeler.path={gold}"]}


class TestLabeler(LabelerContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request, make_context, tmp_path):
        tiny.classifier(tmp_path / "gold")
        options = [option.format(gold=tmp_path / "gold") for option in COMPONENTS[request.param]]
        self.context = make_context(f"labeler={request.param}", *options)

    def make(self):
        return self.context.build("labeler")
