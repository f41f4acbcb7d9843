"""What the shared loop relies on in an optimizer: steps on a batch of episodes made by hand."""

import math
from pathlib import Path

import pytest
import torch

from rlhfkit.context import Context
from rlhfkit.models.batch import make_batch
from rlhfkit.models.roles import RoleModels
from rlhfkit.online.critic_free import CriticFree
from rlhfkit.online.loop import OnlineOptimizer
from rlhfkit.online.metrics import is_documented
from rlhfkit.online.rollout import Rollout
from rlhfkit.testing.optimizer import PolicyOptimizerContract, weights
from rlhfkit.types import Ends, Response

PROMPTS = [[5, 6], [5, 6], [7, 8, 9], [7, 8, 9]]
RESPONSES = [[10, 11, 2], [12, 2], [6, 5], [8, 10, 14, 2]]
SCORES = [1.0, -0.5, 0.3, 2.0]


class OnlineOptimizerContract(PolicyOptimizerContract):
    """What the loop relies on in an `OnlineOptimizer`.

    The episodes are two completions of each of two prompts; `make` gives an optimizer that can
    learn from them.
    """

    own_metrics: tuple[str, ...] = ()
    """Names that its steps log beside those of `rlhfkit.online.metrics.METRICS`."""

    @pytest.fixture
    def optimizer(self, tmp_path: Path) -> OnlineOptimizer:
        """With models, in front of its first step."""
        return self.prepared(self.context(tmp_path))

    def prepared(self, context: Context, learning_rate: float = 0.02) -> OnlineOptimizer:
        """An optimizer with models of its own, in front of its first step."""
        torch.manual_seed(0)
        optimizer = self.make(context, learning_rate)
        assert isinstance(optimizer, OnlineOptimizer)
        optimizer.prepare(context, context.build("loader").roles(None, None))
        return optimizer

    def test_a_step_changes_what_it_trains_and_nothing_else(
        self, optimizer: OnlineOptimizer
    ) -> None:
        roles = optimizer.roles
        parameters = [item for group in optimizer.parameter_groups() for item in group["params"]]
        trained = {id(parameter) for parameter in parameters}
        before = [parameter.detach().clone() for parameter in parameters]
        frozen = [
            (parameter, parameter.detach().clone())
            for model in (
                roles.policy.model,
                roles.reference.model,
                roles.value.language_model.model,
            )
            for parameter in model.parameters()
            if id(parameter) not in trained
        ]
        optimizer.step(make_rollout(roles))
        moved = zip(parameters, before, strict=True)
        assert any((parameter - old).abs().max() > 0 for parameter, old in moved)
        assert all(parameter.isfinite().all() for parameter in parameters)
        assert all(torch.equal(parameter, old) for parameter, old in frozen)

    def test_metrics_are_documented_and_finite(self, optimizer: OnlineOptimizer) -> None:
        found = optimizer.step(make_rollout(optimizer.roles))
        assert found
        for name, value in found.items():
            assert is_documented(name) or name in self.own_metrics, name
            assert math.isfinite(value), name

    def test_gradients_are_the_same_however_they_are_cut(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As after running out of memory: `gradients` then calls `backward` with smaller sizes."""
        found = []
        for rows in (4, 1):
            optimizer = self.prepared(self.context(tmp_path))
            optimizer.update_size.size = rows
            monkeypatch.setattr(optimizer, "optimizer_step", dict)  # gradients add up
            optimizer.step(make_rollout(optimizer.roles))
            policy = optimizer.roles.policy.trainable_parameters()
            found.append([item.grad.clone() for item in policy if item.grad is not None])
        largest = max(float(gradient.abs().max()) for gradient in found[0])
        assert largest > 0
        torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4 * largest)


class CriticFreeContract(OnlineOptimizerContract):
    """What the loop relies on in a `rlhfkit.online.critic_free.CriticFree`."""

    def test_advantages_of_zero_change_nothing(
        self, optimizer: OnlineOptimizer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert isinstance(optimizer, CriticFree)
        monkeypatch.setattr(optimizer, "advantages", lambda rollout: torch.zeros(len(rollout), 1))
        before = weights(optimizer.roles.policy.model)
        optimizer.step(make_rollout(optimizer.roles))
        after = weights(optimizer.roles.policy.model)
        assert all(torch.equal(after[name], value) for name, value in before.items())

    def test_advantages_are_finite_and_one_a_token_or_a_response(
        self, optimizer: OnlineOptimizer
    ) -> None:
        assert isinstance(optimizer, CriticFree)
        advantages = optimizer.advantages(make_rollout(optimizer.roles))
        assert advantages.shape in {(4, 4), (4, 1)}
        assert advantages.isfinite().all()
        assert not advantages.requires_grad


def make_rollout(roles: RoleModels) -> Rollout:
    """Four episodes of the policy as it is."""
    device = roles.policy.device
    batch = make_batch(PROMPTS, RESPONSES, device)
    with torch.no_grad():
        logprobs = roles.policy.response_logprobs(batch)[0]
        ref_logprobs = roles.reference.response_logprobs(batch)[0]
    return Rollout(
        prompts=[[{"role": "user", "content": str(ids)}] for ids in PROMPTS],
        prompt_ids=PROMPTS,
        completions=[str(ids) for ids in RESPONSES],
        responses=[
            Response.from_ids(ids, row[: len(ids)], Ends((2,)))
            for ids, row in zip(RESPONSES, logprobs.tolist(), strict=True)
        ],
        response_mask=batch.response_mask,
        logprobs=logprobs,
        ref_logprobs=ref_logprobs,
        scores=torch.tensor(SCORES, device=device),
        raw_scores={"by_hand": torch.tensor(SCORES)},
    )
