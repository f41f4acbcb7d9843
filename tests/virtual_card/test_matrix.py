"""Whole runs on the virtual card in bfloat16: loaders, samplers, optimizers and memory options.

The stages before rl are the same for many cases, which take them over from the first that ran them.
"""

import pytest

LOADERS = ("lora", "qlora", "full")
SAMPLERS = ("cached", "graph", "generate", "continuous")
OPTIMIZERS = ("rloo", "grpo", "reinforce_pp", "dpo", "trl_grpo", "trl_rloo")
CHECKPOINTING = [
    f"stage.{stage}.gradient_checkpointing=true" for stage in ("sft", "reward_model", "rl")
]
OPTIONS = {
    "mixed": ["optimizer.ptx_coef=1", "optimizer.ema_decay=0.9", "optimizer.entropy_coef=0.01"],
    "checkpointing": CHECKPOINTING,
    "8-bit optimizer": ["optimizer.optim=adamw_8bit", "stage.sft.optim=adamw_8bit"],
    "paged optimizers": [
        "optimizer.optim=paged_adamw_8bit",
        "stage.sft.optim=paged_adamw_32bit",
    ],
    "deterministic kernels": ["deterministic=true"],
    "rewards": ["reward=[reward_model,length,format]"],
    "scaled scores": [
        "stage.rl.use_score_scaling=true",
        "stage.rl.use_score_norm=true",
        "stage.rl.whiten_rewards=true",
    ],
    "every evaluator": [
        "evaluator=[win_rate,policy_statistics,pretraining_loss,best_of_n]",
        "pretraining_eval_fraction=0.5",
        "stage.evaluate.num_completions=2",
    ],
}
ONE_LOADER = {
    "lora": {"upper layers": ["loader.lora_last_layers=1"]},
    "qlora": {"upper layers": ["loader.lora_last_layers=1"]},
    "full": {"offload": ["loader.offload_idle=true"]},
}
ONLINE = "stages=[sft,sample,label,reward_model,rl]"


def cases(loader):
    every = {f"{name} sampler": [f"sampler={name}"] for name in SAMPLERS}
    every |= {f"{name} optimizer": [f"optimizer={name}", ONLINE] for name in OPTIMIZERS}
    every |= OPTIONS | ONE_LOADER[loader]
    return [
        {"name": name, "overrides": [f"loader={loader}", *overrides], "reuse": True}
        for name, overrides in every.items()
    ]


@pytest.mark.parametrize("loader", LOADERS)
def test_every_stage_runs(on_card, loader):
    results = on_card(cases(loader))
    assert [(item["name"], item["error"]) for item in results if not item["ok"]] == []
    assert len(results) == len(cases(loader))


@pytest.mark.parametrize("capability", ["7.5", "9.0"])
def test_other_cards(on_card, capability):
    """One without bfloat16 computes in float16."""
    chosen = [{"name": loader, "overrides": [f"loader={loader}"]} for loader in LOADERS]
    results = on_card(chosen, VIRTUAL_CUDA_CAPABILITY=capability)
    assert [(item["name"], item["error"]) for item in results if not item["ok"]] == []
