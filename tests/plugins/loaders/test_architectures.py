"""Every architecture: adapters on one base give the numbers of plain transformers."""

from functools import partial

import pytest
import torch

from rlhfkit.models.batch import make_batch
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.types import Ends
from tests import architectures
from tests.plugins.loaders import separate
from tests.plugins.loaders.conftest import perturb

PROMPTS = [[5, 6], [7, 8, 9, 10, 11, 12, 13], [14, 15, 16]]
RESPONSES = [[10, 11, 2], [12, 2], [9, 8, 7, 6, 5]]
BATCH = make_batch(PROMPTS, RESPONSES)
EXACT = {"rtol": 1e-5, "atol": 1e-5}
ROUNDED = {"rtol": 1e-4, "atol": 1e-4}  # a frozen adapter alone is merged
every_architecture = pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
both_loaders = pytest.mark.parametrize("loader", ["lora", "qlora"])


@pytest.fixture
def made(trained):
    """`made("gpt2", "qlora")`: what `trained` gives, of an architecture."""

    def make(architecture, loader, *overrides):
        write = partial(architectures.write, name=architecture)
        return trained(loader, *overrides, write=write)

    return make


@torch.no_grad()
def plain_logprobs(model, prompt, response, temperature):
    """By the whole model's logits, one sequence at a time, without padding."""
    logits = model(input_ids=torch.tensor([prompt + response])).logits[0].float()
    logprobs = torch.log_softmax(logits / temperature, -1)
    return logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(response)[:, None])[:, 0]


@every_architecture
@both_loaders
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_response_logprobs_are_those_of_plain_transformers(
    made, tmp_path, architecture, loader, temperature
):
    run = made(architecture, loader)
    policy = run.context.build("loader").roles(run.sft, run.reward).policy
    perturb(policy.trainable_parameters(), 3)
    policy.save(tmp_path / "rl")
    plain = separate.adapted(run.base, tmp_path / "rl", loader)
    expected = [
        plain_logprobs(plain, *pair, temperature) for pair in zip(PROMPTS, RESPONSES, strict=True)
    ]
    found = policy.response_logprobs(BATCH, temperature)[0].detach()
    with plain.disable_adapter():
        base = plain_logprobs(plain, PROMPTS[0], RESPONSES[0], temperature)
    assert (expected[0] - base).abs().max() > 0.01, "the adapter must matter"
    for row, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(row[: len(wanted)], wanted, **EXACT)


@every_architecture
@both_loaders
def test_sampled_logprobs_are_those_of_a_teacher_forced_pass(made, architecture, loader):
    run = made(architecture, loader)
    policy = run.context.build("loader").roles(run.sft, run.reward).policy
    sampler = run.context.build("sampler")
    sampler.response_length = 10
    prompts = PROMPTS * 3
    responses = sampler.sample(policy, prompts, Ends((2,)), torch.Generator().manual_seed(0))
    ids = [response.ids for response in responses]
    for size in (1, len(prompts)):
        expected = teacher_forced_logprobs(
            policy, prompts, ids, sampler.temperature, AdaptiveBatchSize("reference", size)
        )
        for response, row in zip(responses, expected, strict=True):
            torch.testing.assert_close(torch.tensor(response.logprobs), row, **EXACT)


@every_architecture
@both_loaders
def test_gradients_reach_every_adapter(made, architecture, loader):
    run = made(architecture, loader)
    roles = run.context.build("loader").roles(run.sft, run.reward)
    losses = {
        roles.policy: roles.policy.response_logprobs(BATCH)[0].sum,
        roles.value: roles.value.values(BATCH).sum,
    }
    for role, loss in losses.items():
        parameters = role.trainable_parameters()
        assert len(parameters) >= 2 * 4 * 2, "A and B of at least four layers in two blocks"
        for gradient in torch.autograd.grad(loss(), parameters):
            assert gradient.abs().max() > 0


@every_architecture
def test_upper_layers_only(made, architecture):
    run = made(architecture, "lora", "loader.lora_last_layers=1")
    policy = run.context.build("loader").roles(run.sft, None).policy
    names = [name for name, item in policy.model.named_parameters() if item.requires_grad]
    assert len(names) >= 4 * 2
    assert all(".1." in name for name in names)


@every_architecture
@both_loaders
@pytest.mark.parametrize("trainable", [False, True])
@torch.no_grad()
def test_every_role_round_trips(made, tmp_path, architecture, loader, trainable):
    run = made(architecture, loader)
    built = run.context.build("loader")
    roles = built.roles(run.sft, run.reward)
    perturb(roles.policy.trainable_parameters(), 3)
    perturb(roles.value.trainable_parameters(), 4)
    numbers = []
    for name in ("policy", "reference"):
        role = getattr(roles, name)
        role.save(tmp_path / name)
        again = built.language_model(str(tmp_path / name), trainable=trainable)
        numbers.append(role.response_logprobs(BATCH)[0])
        torch.testing.assert_close(again.response_logprobs(BATCH)[0], numbers[-1], **ROUNDED)
    for name in ("value", "reward"):
        role = getattr(roles, name)
        role.save(tmp_path / name)
        again = built.scalar_model(str(tmp_path / name), trainable=trainable)
        numbers.append(role.values(BATCH))
        torch.testing.assert_close(again.values(BATCH), numbers[-1], **ROUNDED)
        torch.testing.assert_close(again.scores(BATCH), role.scores(BATCH), **ROUNDED)
        assert torch.equal(again.head.weight, role.head.weight)
        assert torch.equal(again.head.bias, role.head.bias)
    for one, other in ((0, 1), (2, 3)):
        assert (numbers[one] - numbers[other]).abs().max() > 0.01, "four different models"


@every_architecture
@torch.no_grad()
def test_four_bit_layers_compute_what_the_full_ones_do(tmp_path, architecture):
    """GPT-2 keeps its weights transposed; of a square one that would go unnoticed."""
    architectures.write(tmp_path, architecture)
    full = dict(separate.base_model(tmp_path, "lora").named_modules())
    modules = separate.base_model(tmp_path, "qlora").named_modules()
    quantised = {name: item for name, item in modules if type(item).__name__ == "Linear4bit"}
    assert len(quantised) >= 8
    for name, layer in quantised.items():
        inputs = torch.randn(5, layer.in_features)
        error = layer(inputs) - full[name](inputs)
        assert error.norm() < 0.2 * full[name](inputs).norm(), name
