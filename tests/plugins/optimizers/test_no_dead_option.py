"""Every option of the online optimizers, of their stage and of the KL controllers is read and
changes something: numbers, weights, or how the work is cut.

A new option fails here until `CHANGES` says what it is set to, and with what beside it.
"""

import hashlib
import json
from copy import deepcopy
from dataclasses import fields

import pytest
import torch
from omegaconf import OmegaConf

from rlhfkit.config.online import OnlineConfig
from rlhfkit.config.stages import RlConfig
from rlhfkit.context import Context
from rlhfkit.plugin_manager import load_plugins
from rlhfkit.storage.run_dir import RunDir, read_jsonl
from rlhfkit.testing import tiny
from rlhfkit.testing.tiny_run import PROMPTS

COMPONENTS = load_plugins().components
ONLINE = {
    name: fields(provided.component.config)
    for name, provided in COMPONENTS["optimizer"].items()
    if issubclass(provided.component.config, OnlineConfig)
}
KL = {name: fields(provided.component.config) for name, provided in COMPONENTS["kl"].items()}

BASE = [
    "data=[files]", "loader=full", "reward=[length]", "reward.length.max=0",
    "reward.length.slope=8", "kl=fixed", "kl.kl_coef=0.3",
    "sampler.response_length=6", "model.max_prompt_length=24", "optimizer.learning_rate=0.02",
    "optimizer.num_ppo_epochs=2", "optimizer.num_mini_batches=2",
    "stage.rl.total_episodes=8", "stage.rl.batch_size=4",
    "stage.rl.micro_batch_size=4",
]  # fmt: skip

CHANGES = {
    # option: its other value (a switch needs none), and what both runs have beside it
    "learning_rate": ("0.01",),
    "optim": ("adamw_torch_fused",),
    "adam_beta1": ("0.5",),
    "adam_beta2": ("0.5",),
    "adam_epsilon": ("0.1",),
    "weight_decay": ("0.5",),
    "max_grad_norm": ("0.01",),
    "ptx_reduction": ("token_sum", "optimizer.ptx_coef=0.5"),
    "num_ppo_epochs": ("1",),
    "num_mini_batches": ("1",),
    "cliprange": ("0.01",),
    "kl_estimator": ("k2",),
    "kl_in_loss": (None, "optimizer.kl_estimator=k3"),
    "kl_clip": ("0.01",),
    "ema_decay": ("0.5",),
    "ptx_coef": ("2.0",),
    "ptx_batch_size": ("1", "optimizer.ptx_coef=0.5"),
    "ptx_per_episode": ("2", "optimizer.ptx_coef=0.5"),
    "ptx_length": ("3", "optimizer.ptx_coef=0.5"),
    "lr_scheduler_type": ("linear",),
    "warmup_iterations": ("2",),
    "value_learning_rate": ("0.01",),
    "vf_coef": ("1.0",),
    "cliprange_value": ("0.001",),
    "value_huber_delta": ("0.01",),
    "gamma": ("0.5",),
    "lam": ("0.5",),
    "whiten_advantages": (None,),
    "whiten_per_mini_batch": (None,),
    "entropy_coef": ("0.1",),
    "target_kl": ("0.0001",),
    "critic_warmup": ("1",),
    "num_generations": ("2",),
    "scale_rewards": ("none",),
    "loss_type": ("dapo", "sampler.response_length=20"),
    "epsilon_high": ("0.01",),
    "total_episodes": ("4",),
    "num_prompts": ("1",),
    "batch_size": ("8",),
    "micro_batch_size": ("1",),
    "micro_batch_tokens": ("12",),
    "gradient_checkpointing": (None,),
    "missing_eos_penalty": ("0.2",),
    "reward_clip": ("0.1",),
    "use_score_scaling": (None,),
    "use_score_norm": (None, "stage.rl.use_score_scaling=true"),
    "whiten_rewards": (None,),
    "select_by": ("objective",),
    "select_candidates": ("1", "stage.rl.select_by=objective"),
    "select_prompts": ("2", "stage.rl.select_by=objective"),
    "kl_coef": ("0.3",),
    "init_kl_coef": ("0.3",),
    "target": ("5.0",),
    "horizon": ("500",),
    "kp": ("0.3",),
    "ki": ("0.3",),
    "kd": ("0.3",),
    "start": ("0.3",),
    "end": ("0.2",),
}

ON_A_GPU = {"activation_offloading"}
"""Options that change nothing elsewhere: tests/virtual_card/test_offloading.py."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("dead")
    tiny.language_model(root / "base", num_hidden_layers=1)
    asked = [*PROMPTS, *(f"{text} and red" for text in PROMPTS[:6])]  # a fifth of them is three
    prompts = "".join(json.dumps({"prompt": text}) + "\n" for text in asked)
    (root / "prompts.jsonl").write_text(prompts)
    texts = ["red and green and blue is the best", "I like it", "what goes on is fine and good"]
    (root / "pretraining.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts)
    )
    data = [f"data.files.{split}={root / split}.jsonl" for split in ("prompts", "pretraining")]
    return [f"model.path={root / 'base'}", *data]


@pytest.fixture(scope="module")
def known():
    """Composed settings by optimizer, and outcomes by settings."""
    return {}


@pytest.fixture
def outcome(plugins, make_raw, files, tmp_path, known):
    """`outcome("ppo", "optimizer.lam=0.5")`: all that a short run of the loop leaves behind."""

    def run(optimizer, *settings):
        if optimizer not in known:
            groups = any(field.name == "num_generations" for field in ONLINE[optimizer])
            chosen = [f"optimizer={optimizer}", *["optimizer.num_generations=4"] * groups]
            known[optimizer] = make_raw(*BASE, *files, *chosen)
        raw = deepcopy(known[optimizer])
        raw.run_dir = str(tmp_path / str(len(known)))
        for setting in settings:
            OmegaConf.update(raw, *setting.split("="))
        config = OmegaConf.to_object(raw)
        return _run(Context(config, plugins, RunDir(config.run_dir), "rl"))

    def once(*settings):
        if settings not in known:
            known[settings] = run(*settings)
        return known[settings]

    return once


def _run(context):
    torch.manual_seed(0)
    context.stage_dir.mkdir(parents=True)
    optimizer = context.build("optimizer")
    prepare, rows = optimizer.prepare, []

    def watched(context, roles):
        prepare(context, roles)
        layer = roles.policy.body.layers[0].mlp  # inside of what is computed again
        layer.register_forward_pre_hook(lambda _, states: rows.append(len(states[0])))

    optimizer.prepare = watched
    optimizer.train(context)
    steps = [
        {name: value for name, value in row.items() if not name.startswith("time/")}
        for row in read_jsonl(context.stage_dir / "metrics.jsonl")
    ]
    weights = (context.stage_dir / "model" / "model.safetensors").read_bytes()
    adamw = f"{type(optimizer.optimizer)} {optimizer.optimizer.defaults}"
    return repr((steps, hashlib.sha256(weights).hexdigest(), rows, adamw))  # NaN equals NaN


def test_the_same_options_leave_the_same(outcome):
    assert outcome("ppo") == outcome("ppo", "seed=0")


def other_value(field):
    value = CHANGES[field.name][0]
    return str(not field.default).lower() if value is None else value


def each(groups):
    """A case for every field of every group."""
    cases = [(name, field) for name, group in groups.items() for field in group]
    return pytest.mark.parametrize(
        ("name", "field"), cases, ids=[f"{name} {field.name}" for name, field in cases]
    )


@each(ONLINE)
def test_every_option_of_an_optimizer_changes_something(outcome, name, field):
    chosen = (name, *CHANGES[field.name][1:])
    changed = f"optimizer.{field.name}={other_value(field)}"
    assert outcome(*chosen) != outcome(*chosen, changed), changed


@each({"ppo": [field for field in fields(RlConfig) if field.name not in ON_A_GPU]})
def test_every_option_of_the_stage_changes_something(outcome, name, field):
    chosen = (name, *CHANGES[field.name][1:])
    changed = f"stage.rl.{field.name}={other_value(field)}"
    assert outcome(*chosen) != outcome(*chosen, changed), changed


@each(KL)
def test_every_option_of_a_controller_changes_its_coefficients(make_context, name, field):
    def coefficients(*overrides):
        controller, found = make_context(f"kl={name}", *overrides).build("kl"), []
        for measured in (0.0, 5.5, 9.0):
            found.append(controller.coef)
            controller.update(measured, 64)
        return [*found, controller.coef]

    assert coefficients() != coefficients(f"kl.{field.name}={other_value(field)}")
