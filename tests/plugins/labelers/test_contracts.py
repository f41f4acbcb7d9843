"""Every labeler keeps to the contract but `imported` and `people`, which have rankings and judge
nothing; `model_judge` does in test_model_judge.py, beside its server."""

import pytest

from rlhfkit.testing import LabelerContract, tiny

COMPONENTS = {
    "simulated": [],
    "reward_model": ["labeler.path={gold}"],
    "local_judge": ["labeler.path={judge}", "labeler.prompts=[pairwise,truthful]", "loader=full"],
}


class TestLabeler(LabelerContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request, make_context, tmp_path):
        tiny.classifier(tmp_path / "gold")
        tiny.language_model(tmp_path / "judge", max_position_embeddings=512)
        paths = {name: tmp_path / name for name in ("gold", "judge")}
        options = [option.format(**paths) for option in COMPONENTS[request.param]]
        self.context = make_context(f"labeler={request.param}", *options)

    def make(self):
        return self.context.build("labeler")
