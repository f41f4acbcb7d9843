"""What the core relies on in a model loader."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rlhfkit.context import Context
from rlhfkit.models.batch import TokenBatch, make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.protocols import ModelLoader
from rlhfkit.testing.tiny_run import tiny_context

PROMPTS = [[5, 6], [7, 8, 9]]
RESPONSES = [[10, 11, 2], [12, 2]]


class ModelLoaderContract(ABC):
    """What the core relies on in a `ModelLoader`."""

    RTOL, ATOL = 1e-4, 2e-5
    """How far the same model may differ when it is loaded in another way, as an adapter that is
    added into its base does."""

    @abstractmethod
    def make(self, context: Context) -> ModelLoader:
        """A loader for the model of `context.config.model.path`."""

    @pytest.fixture
    def loader(self, tmp_path: Path) -> ModelLoader:
        """The loader of a tiny run."""
        return self.make(tiny_context(tmp_path))

    @pytest.fixture
    def paths(self, loader: ModelLoader, tmp_path: Path) -> tuple[str, str]:
        """Where a trained SFT model and a trained reward model of the loader were saved."""
        sft, reward_model = str(tmp_path / "sft"), str(tmp_path / "reward_model")
        model = loader.language_model(None, trainable=True)
        perturb(model.trainable_parameters(), 1)
        model.save(Path(sft))
        scalar = loader.scalar_model(sft, trainable=True)
        perturb(scalar.trainable_parameters(), 2)
        scalar.save(Path(reward_model))
        return sft, reward_model

    def test_a_model_to_train_starts_as_the_base_model(self, loader: ModelLoader) -> None:
        base, trained = loader.language_model(None), loader.language_model(None, trainable=True)
        trained.model.eval()
        assert trained.trainable_parameters()
        assert not any(parameter.requires_grad for parameter in base.model.parameters())
        self.assert_same(logprobs(trained), logprobs(base))

    def test_a_saved_language_model_loads_as_it_was(
        self, loader: ModelLoader, tmp_path: Path
    ) -> None:
        model = loader.language_model(None, trainable=True)
        model.model.eval()  # dropout is for training
        start = logprobs(model)
        perturb(model.trainable_parameters(), 3)
        model.save(tmp_path / "saved")
        assert (logprobs(model) - start).abs().max() > 0.01, "the case must change the model"
        for trainable in (False, True):
            loaded = loader.language_model(str(tmp_path / "saved"), trainable=trainable)
            loaded.model.eval()
            self.assert_same(logprobs(loaded), logprobs(model))

    def test_a_saved_scalar_model_loads_with_its_head(
        self, loader: ModelLoader, paths: tuple[str, str], tmp_path: Path
    ) -> None:
        model = loader.scalar_model(paths[1], trainable=True)
        model.language_model.model.eval()
        perturb(model.trainable_parameters(), 4)
        model.save(tmp_path / "saved")
        loaded = loader.scalar_model(str(tmp_path / "saved"))
        self.assert_same(scores_of(loaded), scores_of(model))

    def test_roles_start_where_they_must(self, loader: ModelLoader, paths: tuple[str, str]) -> None:
        sft, reward_model = paths
        roles = loader.roles(sft, reward_model)
        numbers = outputs(roles)
        assert torch.equal(numbers["policy"], numbers["reference"])
        assert torch.equal(scores_of(roles.value), numbers["reward"])
        self.assert_same(numbers["policy"], logprobs(loader.language_model(sft)))
        self.assert_same(numbers["reward"], scores_of(loader.scalar_model(reward_model)))
        change = numbers["reference"] - logprobs(loader.language_model(None))
        assert change.abs().max() > 0.01, "the reference is the SFT model, not the base model"

    def test_roles_without_earlier_stages_start_from_the_base_model(
        self, loader: ModelLoader
    ) -> None:
        roles = loader.roles(None, None)
        assert roles.reward is None
        assert torch.equal(logprobs(roles.policy), logprobs(roles.reference))
        self.assert_same(logprobs(roles.policy), logprobs(loader.language_model(None)))
        assert scores_of(roles.value).abs().max() > 0, "the value model has a fresh head"

    def test_training_a_role_leaves_the_others_alone(
        self, loader: ModelLoader, paths: tuple[str, str]
    ) -> None:
        roles = loader.roles(*paths)
        before = outputs(roles)
        perturb(roles.policy.trainable_parameters(), 5)
        after = outputs(roles)
        assert changed(before, after) == {"policy"}
        perturb(roles.value.trainable_parameters(), 6)
        assert changed(after, outputs(roles)) == {"value"}

    def test_gradients_are_the_same_after_a_pass_without_them(
        self, loader: ModelLoader, paths: tuple[str, str]
    ) -> None:
        policy = loader.roles(*paths).policy

        def gradients() -> list[Tensor]:
            total = policy.response_logprobs(batch(policy))[0].sum()
            found = torch.autograd.grad(total, policy.trainable_parameters(), allow_unused=True)
            return [gradient for gradient in found if gradient is not None]

        first = gradients()
        logprobs(policy)
        torch.testing.assert_close(gradients(), first, rtol=1e-5, atol=1e-7)
        assert all(gradient.isfinite().all() for gradient in first)
        assert any(gradient.abs().max() > 0 for gradient in first)

    def assert_same(self, found: Tensor, expected: Tensor) -> None:
        """Equal but for rounding."""
        torch.testing.assert_close(found, expected, rtol=self.RTOL, atol=self.ATOL)


def perturb(parameters: Iterable[nn.Parameter], seed: int, scale: float = 0.05) -> None:
    """Train without training: add noise."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(scale * noise.to(parameter.device))


def batch(model: LanguageModel) -> TokenBatch:
    """Two short sequences."""
    return make_batch(PROMPTS, RESPONSES, model.device)


@torch.no_grad()
def logprobs(model: LanguageModel) -> Tensor:
    """[2, 3] of the two sequences' responses."""
    return model.response_logprobs(batch(model))[0]


@torch.no_grad()
def scores_of(model: ScalarModel) -> Tensor:
    """[2] of the two sequences."""
    return model.scores(batch(model.language_model))


def outputs(roles: RoleModels) -> dict[str, Tensor]:
    """What each role says of the two sequences."""
    assert roles.reward is not None
    return {
        "policy": logprobs(roles.policy),
        "reference": logprobs(roles.reference),
        "value": scores_of(roles.value),
        "reward": scores_of(roles.reward),
    }


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The roles that say something else."""
    return {name for name in before if not torch.equal(before[name], after[name])}
