"""Plans of tiny models: what fake tensors say is what real ones take, and shallow is like deep."""

from dataclasses import replace

import pytest
from transformers import LlamaConfig

from rlhfkit.context import DryRun
from rlhfkit.planning import plan as planning
from rlhfkit.planning.card import WORKSPACES
from rlhfkit.planning.depth import Depth
from rlhfkit.planning.meter import MemoryMeter, Rates
from rlhfkit.planning.phases import Lengths, Rehearsal
from rlhfkit.planning.plan import SERVER, STAGE_PHASES, plan_run, rehearsed_sampler

RATES = Rates(1e9, 1e9)
STAGES = tuple(STAGE_PHASES)
SIZES = [
    "model.max_prompt_length=24",
    "sampler.response_length=9",
    "stage.sft.max_completion_length=16",
    "stage.sft.per_device_train_batch_size=4",
    "stage.rl.batch_size=16",
    "stage.rl.micro_batch_size=4",
]
PTX = ["optimizer.num_ppo_epochs=2", "optimizer.ptx_coef=1.0", "optimizer.ptx_length=30"]


def model_config(layers):
    return LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )


@pytest.fixture
def context(make_context, tmp_path):
    """`context("loader=lora", layers=2)`: of a planned run of a model that has no weights."""

    def make(*overrides, layers=2, kind="cpu"):
        overrides = overrides if "optimizer=dpo" in overrides else (*PTX, *overrides)
        model_config(layers).save_pretrained(tmp_path / "model")
        rows = [] if "sampler=server" in overrides else ["sampler.batch_size=4"]
        made = make_context(f"model.path={tmp_path / 'model'}", *SIZES, *rows, *overrides)
        return replace(made, dry_run=DryRun(kind))

    return make


@pytest.mark.parametrize("loader", ["full", "lora", "qlora"])
@pytest.mark.parametrize("stage", STAGES)
def test_real_tensors_take_what_was_planned(context, loader, stage):
    """The same phases once more, on weights that exist; every storage is counted as it comes and
    goes."""
    made = context(f"loader={loader}")
    planned = plan_run(made, RATES, [stage])
    meter = MemoryMeter(512, RATES)
    with meter:
        single = replace(made, config=planning._single_batches(made.config))
        rehearsal = Rehearsal(single, Lengths.of(made.config), meter)
        getattr(rehearsal, stage)()
    for phase, found in planned.items():
        names = [name for name in meter.readings if name.partition("/")[0] == phase]
        peaks = [peak.total() for name in names for peak in meter.readings[name].peaks.values()]
        if phase in ("sample", "rollout", "evaluate"):  # answers of 4 tokens there, of 9 here
            assert max(peaks) <= found.peak <= 1.1 * max(peaks)
        else:
            assert found.peak == pytest.approx(max(peaks), rel=0.01)


@pytest.mark.parametrize(
    "overrides", [["loader=full"], ["loader=lora"], ["loader=lora", "loader.lora_last_layers=3"]]
)
def test_a_shallow_plan_is_the_deep_one(context, monkeypatch, overrides):
    made = context(*overrides, layers=7)
    stages = ("sft", "reward_model", "rl")
    quick = plan_run(made, RATES, stages)
    last = 3 if len(overrides) > 1 else None
    monkeypatch.setattr(planning, "depths", lambda config, _: [Depth(7, last, 1.0)])
    slow = plan_run(made, RATES, stages)
    for phase, found in quick.items():
        assert found.peak == pytest.approx(slow[phase].peak, rel=0.01), phase
        assert found.seconds == pytest.approx(slow[phase].seconds, rel=0.05), phase


def test_each_option_takes_off_what_it_is_for(context):
    def update(*overrides):
        return plan_run(context(*overrides, layers=4, kind="cuda"), RATES, ["rl"])["update"]

    plain = update("loader=lora")
    assert update("loader=qlora").parts["base"] < 0.6 * plain.parts["base"]
    activations = plain.parts["activations"] - WORKSPACES
    checkpointed = update("loader=lora", "stage.rl.gradient_checkpointing=true")
    assert checkpointed.parts["activations"] - WORKSPACES < 0.7 * activations
    offloaded = update(
        "loader=lora", "stage.rl.gradient_checkpointing=true", "stage.rl.activation_offloading=true"
    )
    inputs = 4 * 33 * 128 * 2  # of a layer, in bfloat16
    saved = checkpointed.parts["activations"] - offloaded.parts["activations"]
    assert 2 * inputs < saved < 5 * inputs
    halved = update("loader=lora", "stage.rl.micro_batch_size=2")
    assert halved.parts["activations"] - WORKSPACES < 0.6 * activations
    small = update("loader=full", "optimizer.optim=paged_adamw_8bit")
    assert small.parts["optimizer"] < 0.4 * update("loader=full").parts["optimizer"]


@pytest.mark.parametrize(("tokens", "rows"), [(4 * 33, 4), (3 * 33 - 1, 2), (5, 1)])
def test_a_micro_batch_in_tokens_is_that_many_of_the_longest(context, tokens, rows):
    def plan(option):
        return plan_run(context("optimizer.ptx_length=33", option), RATES, ["rl"])

    in_tokens = plan(f"stage.rl.micro_batch_tokens={tokens}")
    in_rows = plan(f"stage.rl.micro_batch_size={rows}")
    for phase in ("score", "update"):
        assert in_tokens[phase].peak == in_rows[phase].peak
        assert in_tokens[phase].seconds == pytest.approx(in_rows[phase].seconds)


def test_dropout_keeps_its_masks(context):
    def sft(*overrides):
        return plan_run(context("loader=lora", *overrides), RATES, ["sft"])["sft"]

    assert sft("stage.sft.residual_dropout=0.2").peak > sft().peak


@pytest.mark.parametrize("optimizer", ["rloo", "grpo"])
def test_groups_of_completions_stay_whole(context, optimizer):
    options = ["optimizer.num_generations=8", "stage.rl.micro_batch_size=1"]
    made = context(f"optimizer={optimizer}", *options)
    assert set(plan_run(made, RATES, ["rl"])) == {"rollout", "score", "update"}


def test_optimizers_of_trls_own_have_no_phases(context):
    made = context("optimizer=dpo")
    phases = {"sft", "rl_sft", "sample", "reward_model", "evaluate"}
    assert set(plan_run(made, RATES, STAGES)) == phases


@pytest.mark.parametrize("shares", [True, False])
def test_all_episodes_keep_what_the_shared_layers_gave(context, shares):
    def peaks(batch_size):
        options = ["loader.lora_last_layers=1", f"loader.share_lower={shares}"]
        found = plan_run(context(*options, f"stage.rl.batch_size={batch_size}"), RATES, ["rl"])
        return found["score"].peak, found["update"].peak

    states_of_an_episode = (24 + 9) * 128 * 4
    expected = 48 * states_of_an_episode if shares else 0
    grown = [more - few for few, more in zip(peaks(16), peaks(64), strict=True)]
    assert grown == [expected, expected]


def test_every_sampler_is_planned_as_one_that_runs_on_fake_tensors(plugins, make_context):
    for name in plugins.components["sampler"]:
        assert rehearsed_sampler(make_context(f"sampler={name}")).name in (
            "cached",
            "graph",
            "server",
        )


def test_a_server_that_is_started_here_has_its_share_of_the_card(context):
    """While a stage samples, and of no card elsewhere; its keys and values are in it."""

    def plan(*overrides, stages=("sft", "sample")):
        made = context("loader=lora", "gpu=2GB", "sampler=server", *overrides, kind="cuda")
        return plan_run(made, RATES, stages)

    options = ("sampler.launch=true", "sampler.gpu_memory_utilization=0.3")
    launched = plan(*options)
    assert SERVER not in launched["sft"].parts
    assert launched["sample"].parts[SERVER] == 0.3 * 2 * 2**30
    assert launched["sample"].parts["KV cache"] == 0
    elsewhere = plan("sampler.model=base", "sampler.adapter_dir=x", stages=["sample"])
    assert SERVER not in elsewhere["sample"].parts
    less = launched["sample"].peak - launched["sample"].parts[SERVER]
    assert elsewhere["sample"].peak == pytest.approx(less)


def test_a_cache_that_is_kept_is_there_in_the_update_too(context):
    kept = plan_run(context("sampler=continuous"), RATES, ["rl"])
    made_anew = plan_run(context("sampler=cached"), RATES, ["rl"])
    cache = made_anew["rollout"].parts["KV cache"]
    assert cache > 0 == made_anew["update"].parts["KV cache"]
    assert kept["rollout"].peak == made_anew["rollout"].peak
    for phase in ("score", "update"):
        assert kept[phase].peak == pytest.approx(made_anew[phase].peak + cache)


def test_what_the_graph_sampler_keeps_is_there_in_the_update_too(context):
    def plan(*overrides, kind="cpu"):
        options = ("loader=lora", "sampler=graph", "sampler.merge_adapters=false", *overrides)
        return plan_run(context(*options, kind=kind), RATES, ["rl"])

    def kept(*overrides, kind="cpu"):
        return plan(*overrides, kind=kind)["update"].parts["KV cache"]

    a_token = 2 * 2 * 2 * 32 * 4 + 4  # layers, keys and values, heads of 32 float32; the mask
    rows = 8
    assert kept() > rows * 33 * a_token
    assert kept("sampler.response_length=19") - kept() == pytest.approx(rows * 10 * a_token)
    assert kept("sampler.keep=false") == kept("sampler.merge_adapters=true") == 0
    with_it, without = (plan(f"sampler.keep={keep}", kind="cuda") for keep in ("true", "false"))
    graphs = with_it["rollout"].peak - without["rollout"].peak
    for phase in ("score", "update"):
        added = with_it[phase].peak - without[phase].peak
        assert added == pytest.approx(with_it[phase].parts["KV cache"])
        assert added > rows * 33 * a_token / 2 + graphs >= rows * 33 * a_token / 2
