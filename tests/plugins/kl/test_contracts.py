"""Every KL controller keeps to the contract."""

import pytest

from rlhfkit.testing import KLControllerContract

COMPONENTS = ("none", "fixed", "adaptive", "pid", "linear", "cosine")


class TestController(KLControllerContract):
    @pytest.fixture(autouse=True, params=COMPONENTS)
    def _chosen(self, request, make_context):
        self.context = make_context(f"kl={request.param}")

    def make(self):
        return self.context.build("kl")
