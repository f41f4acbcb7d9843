"""No built-in component is without its contract suite."""

from importlib import import_module

import pytest

from rlhfkit.component import GROUPS

FOLDERS = {
    "data": "data", "loader": "loaders", "sampler": "samplers", "labeler": "labelers",
    "reward": "rewards", "optimizer": "optimizers", "kl": "kl", "evaluator": "evaluators",
}  # fmt: skip
ELSEWHERE = {
    "labeler": {"imported", "people", "model_judge"},
    "evaluator": {"people", "ratings", "rubrics", "lm_eval"},
    "reward": {"server"},
}
"""The first two judge nothing, evaluators of the second row have tests of their own; the
others' suites stand beside their servers."""

ANY_CODE = "function"
"""Stands for a function of the user's, which tests/commands/test_own_parts.py has."""


@pytest.mark.parametrize("group", [group.name for group in GROUPS])
def test_every_built_in_has_a_suite(plugins, group):
    built_in = {
        name
        for name, provided in plugins.components[group].items()
        if provided.provider.distribution == "rlhfkit" and name != ANY_CODE
    }
    suites = import_module(f"tests.plugins.{FOLDERS[group]}.test_contracts").COMPONENTS
    assert {*suites} | ELSEWHERE.get(group, set()) == built_in
