"""Contract suites: subclass one in your plugin's tests, give it your component, run pytest.

    from rlhfkit.testing import KLControllerContract

    class TestLinearKL(KLControllerContract):
        def make(self):
            return LinearKL(LinearConfig(), context=None)

There is one for every kind of component; what a contract asks is what the core relies on. Suites
that need a model or a run make tiny ones: `rlhfkit.testing.tiny` writes models and
`rlhfkit.testing.tiny_run.tiny_context` gives a stage's context, for tests of your own too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rlhfkit.testing.data_source import DataSourceContract as DataSourceContract
    from rlhfkit.testing.evaluator import EvaluatorContract as EvaluatorContract
    from rlhfkit.testing.kl import KLControllerContract as KLControllerContract
    from rlhfkit.testing.labeler import LabelerContract as LabelerContract
    from rlhfkit.testing.loader import ModelLoaderContract as ModelLoaderContract
    from rlhfkit.testing.online_optimizer import CriticFreeContract as CriticFreeContract
    from rlhfkit.testing.online_optimizer import OnlineOptimizerContract as OnlineOptimizerContract
    from rlhfkit.testing.optimizer import PolicyOptimizerContract as PolicyOptimizerContract
    from rlhfkit.testing.reward import RewardFunctionContract as RewardFunctionContract
    from rlhfkit.testing.sampler import SamplerContract as SamplerContract

_MODULES = {
    "DataSourceContract": "data_source",
    "ModelLoaderContract": "loader",
    "SamplerContract": "sampler",
    "LabelerContract": "labeler",
    "RewardFunctionContract": "reward",
    "PolicyOptimizerContract": "optimizer",
    "OnlineOptimizerContract": "online_optimizer",
    "CriticFreeContract": "online_optimizer",
    "KLControllerContract": "kl",
    "EvaluatorContract": "evaluator",
}

pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in set(_MODULES.values())))


def __getattr__(name: str) -> Any:
    """Import a suite when it is asked for: a KL controller's tests start without torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
