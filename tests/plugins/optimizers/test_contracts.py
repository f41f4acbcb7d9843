"""Every policy optimizer keeps to the contract."""

from dataclasses import replace

import pytest

from rlhfkit.testing import CriticFreeContract, OnlineOptimizerContract, PolicyOptimizerContract
from rlhfkit_plugins.optimizers import (
    DpoConfig,
    GrpoConfig,
    PpoConfig,
    ReinforcePpConfig,
    RlooConfig,
    TrlGrpoConfig,
    TrlRlooConfig,
)
from rlhfkit_plugins.optimizers.dpo import DPO
from rlhfkit_plugins.optimizers.grpo import GRPO
from rlhfkit_plugins.optimizers.ppo import PPO
from rlhfkit_plugins.optimizers.reinforce_pp import ReinforcePP
from rlhfkit_plugins.optimizers.rloo import RLOO
from rlhfkit_plugins.optimizers.trl_online import TrlGRPO, TrlRLOO

CRITIC_FREE = {
    "rloo": (RLOO, RlooConfig(num_generations=2)),
    "grpo": (GRPO, GrpoConfig(num_generations=2, kl_in_loss=False, kl_estimator="k1")),
    "reinforce_pp": (ReinforcePP, ReinforcePpConfig()),
}
OTHERS = {
    "dpo": (DPO, DpoConfig(per_device_train_batch_size=4)),
    "trl_grpo": (TrlGRPO, TrlGrpoConfig(num_generations=2)),
    "trl_rloo": (TrlRLOO, TrlRlooConfig(num_generations=2)),
}
COMPONENTS = {"ppo", *CRITIC_FREE, *OTHERS}


class _Chosen:
    def make(self, context, learning_rate):
        return self.optimizer(replace(self.config, learning_rate=learning_rate), context)


class TestPpo(OnlineOptimizerContract):
    def make(self, context, learning_rate):
        return PPO(PpoConfig(learning_rate, value_learning_rate=learning_rate), context)


class TestCriticFree(_Chosen, CriticFreeContract):
    @pytest.fixture(autouse=True, params=CRITIC_FREE)
    def _choose(self, request):
        self.optimizer, self.config = CRITIC_FREE[request.param]


class TestWithALoopOfItsOwn(_Chosen, PolicyOptimizerContract):
    @pytest.fixture(autouse=True, params=OTHERS)
    def _choose(self, request):
        self.optimizer, self.config = OTHERS[request.param]
