"""GRPO against TRL's GRPOTrainer: advantages, losses and gradients of the same numbers."""

from typing import get_args

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from rlhfkit.errors import UserError
from rlhfkit.rl.advantages import group_relative
from rlhfkit.rl.aggregation import LossType
from rlhfkit.testing import tiny
from rlhfkit_plugins.optimizers import LOSS_TYPES, GrpoConfig
from rlhfkit_plugins.optimizers.grpo import GRPO
from tests.plugins.optimizers.ppo_steps import CONFIG, KL_COEF, TEMPERATURE, make, make_rollout
from tests.plugins.optimizers.test_ppo import arrays_of, make_roles

LONGEST = 9
OPTIONS = {
    name: value for name, value in CONFIG.items() if name in GrpoConfig.__dataclass_fields__
} | {"num_generations": 2, "num_ppo_epochs": 1, "num_mini_batches": 1, "ptx_coef": 0.0}


@pytest.fixture
def make_trainer(tmp_path):
    """`make_trainer(reward, loss_type="dapo")`: TRL's trainer of a tiny model."""

    def build(reward, **options):
        tiny.language_model(tmp_path / "model")
        arguments = GRPOConfig(
            output_dir=str(tmp_path / "trainer"), use_cpu=True, bf16=False, report_to="none",
            beta=KL_COEF, epsilon=CONFIG["cliprange"], per_device_train_batch_size=8,
            num_generations=4, max_completion_length=LONGEST,
            use_bias_correction_kl=False,  # of DeepSeek-V3.2, not in the paper of GRPO
            **options,
        )  # fmt: skip
        return GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(tmp_path / "model"),
            reward_funcs=reward,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": ["what is red", "you like blue"]}),
            processing_class=AutoTokenizer.from_pretrained(tmp_path / "model"),
        )

    return build


def trl_gradients(trainer, roles, rollout, advantages):
    """Loss and gradients that TRL's trainer computes from these roles' log-probabilities."""
    batch = rollout.batch(range(4), roles.policy)
    logprobs, entropy = roles.policy.response_logprobs(batch, TEMPERATURE)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logprobs, entropy, None)
    trainer.current_gradient_accumulation_steps = 1
    mask = rollout.response_mask.long()
    inputs = {
        "prompt_ids": torch.zeros(4, 1).long(),
        "prompt_mask": torch.ones(4, 1).long(),
        "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "advantages": advantages,
        "num_items_in_batch": mask.sum(),
        "old_per_token_logps": rollout.logprobs,
        "ref_per_token_logps": rollout.ref_logprobs,
    }
    trainer.model.train()
    loss = trainer._compute_loss(trainer.model, inputs)
    model = roles.policy.model
    return loss.item(), torch.autograd.grad(loss, [model.embedding.weight, model.head.weight])


@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": "grpo"},
        {"loss_type": "dapo"},
        {"loss_type": "dr_grpo"},
        {"loss_type": "grpo", "epsilon_high": 0.3},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_loss_and_gradients_are_trls(make_trainer, make_context, options):
    roles = make_roles()
    rollout = make_rollout(roles)
    advantages = group_relative(rollout.scores.view(2, 2), scale=True).view(4)
    trainer = make_trainer(lambda completions, **_: [0.0] * len(completions), **options)
    loss, (embedding, head) = trl_gradients(trainer, roles, rollout, advantages)
    for micro_batch_size in (1, 2, 3, 4):
        config = GrpoConfig(**OPTIONS, **options)
        grpo = make(GRPO, config, roles, make_context, micro_batch_size)
        grpo.longest_response = LONGEST
        grpo.optimizer_step = lambda: {}
        metrics = grpo.step(rollout)
        assert metrics["policy/clipfrac_avg"] > 0, "the case must exercise clipping"
        found = metrics["loss/policy_avg"] + KL_COEF * metrics["loss/kl_avg"]
        assert found == pytest.approx(loss, rel=1e-5)
        model = roles.policy.model
        torch.testing.assert_close(model.embedding.weight.grad, embedding, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(model.head.weight.grad, head, rtol=1e-5, atol=1e-8)
        grpo.optimizer.zero_grad()


@pytest.mark.parametrize("scale_rewards", ["group", "none"])
def test_advantages_are_trls(make_trainer, scale_rewards):
    scores = [0.5, 2.0, -1.0, 0.0, 3.0, 3.0, 3.0, 3.5]
    trainer = make_trainer(lambda **_: scores, scale_rewards=scale_rewards)
    trainer.model.train()
    rows = [{"prompt": text} for text in ("what is red", "you like blue") for _ in range(4)]
    expected = trainer._generate_and_score_completions(rows)["advantages"]
    found = group_relative(torch.tensor(scores).view(2, 4), scale_rewards == "group")
    torch.testing.assert_close(found.flatten(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [{"num_ppo_epochs": 3}, {"scale_rewards": "none"}, {"loss_type": "dr_grpo"},
     {"epsilon_high": 0.4}, {"ptx_coef": 0.5}, {"num_generations": 4}],
    ids=str,
)  # fmt: skip
def test_options_change_the_step(make_context, changed):
    ends = []
    for options in (OPTIONS, OPTIONS | changed):
        roles = make_roles()
        config = GrpoConfig(**options | {"max_grad_norm": 1e9, "optim": "adamw_torch"})
        make(GRPO, config, roles, make_context, 4).step(make_rollout(roles))
        ends.append(arrays_of(roles))
    assert any((ends[0][name] != ends[1][name]).any() for name in ("E", "W"))
    assert all((ends[0][name] == ends[1][name]).all() for name in ("Ev", "v", "c"))


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"num_generations": 1}, "num_generations=1: must be at least 2"),
        ({"loss_type": "drgrpo"}, "loss_type=drgrpo: did you mean 'dr_grpo'"),
        ({"scale_rewards": "std"}, "scale_rewards=std: choices: group, none"),
        ({"epsilon_high": 0.0}, "epsilon_high=0.0: must be a finite number above 0"),
    ],
)
def test_values_without_meaning(option, says):
    with pytest.raises(UserError, match=says):
        GrpoConfig(**option).check("optimizer")


def test_every_loss_type_is_an_option():
    assert get_args(LossType) == LOSS_TYPES
