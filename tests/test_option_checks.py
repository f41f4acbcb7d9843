"""Values outside their meaning are told before anything is trained."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.option_checks import RULES, _options
from rlhfkit.runner import Runner


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["optimizer.cliprange=-0.2"], "optimizer.cliprange=-0.2: must be positive"),
        (["optimizer.lam=1.5"], "optimizer.lam=1.5: must be from 0 to 1"),
        (["optimizer.ema_decay=1"], "optimizer.ema_decay=1.0: must be at least 0 and below 1"),
        (["stage.sft.learning_rate=-1"], "stage.sft.learning_rate=-1.0: must not be negative"),
        (["stage.rl.batch_size=0"], "stage.rl.batch_size=0: must be positive"),
        (["stage.rl_sft.select_by=rewrd"], "did you mean 'reward'"),
        (["optimizer.lr_scheduler_type=linaer"], "did you mean 'linear'"),
        (
            ["stage.reward_model.min_lr_rate=0.1", "stage.reward_model.lr_scheduler_type=linear"],
            "stage.reward_model.min_lr_rate=0.1: needs .*=cosine, not linear",
        ),
        (
            ["optimizer.ptx_coef=27.8", "data.files.pretraining=null"],
            "optimizer.ptx_coef=27.8 needs pretraining texts",
        ),
        (
            ["data.files.pretraining=null", "stages=[sft,rl_sft]"],
            "stage.rl_sft.pretraining_fraction=0.1 needs pretraining texts",
        ),
        (["pretraining_eval_fraction=1"], "pretraining_eval_fraction=1.0: must be at least 0"),
        (
            ["evaluator=[win_rate,policy_statistics,pretraining_loss]"],
            "evaluator=pretraining_loss needs texts that nothing is trained on",
        ),
        (
            ["pretraining_eval_fraction=0.5", "data.files.pretraining=null", "stages=[evaluate]"],
            "pretraining_eval_fraction=0.5 needs pretraining texts",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_nothing_is_trained_before_it_is_told(plugins, make_raw, tiny_overrides, overrides, says):
    runner = Runner(make_raw(*tiny_overrides, "stages=[sft,rl]", *overrides), plugins)
    with pytest.raises(UserError, match=says) as error:
        runner.run()
    assert "\n" not in str(error.value)
    assert not runner.run_dir.root.exists()


def test_every_rule_is_of_an_option(make_context):
    names = {name for name, _ in _options(make_context().config)}
    known = names | {name.rpartition(".")[2] for name in names}
    assert set(RULES) <= known


def test_an_optimizer_without_a_pretraining_mix_needs_no_texts(run_tiny):
    run_tiny("optimizer=dpo", "data.files.pretraining=null", "stages=[sft]")
