"""The optimizers by transformers' names: what a CPU can run, run."""

import pytest
import torch
from bitsandbytes.optim.optimizer import Optimizer2State

from rlhfkit.config.trainer import OPTIMS
from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.trainers.optim import UNPAGED, available_optim, build_optimizer, load_optimizer

CPU = torch.device("cpu")
OPTIONS = {"betas": (0.9, 0.95), "eps": 1e-5, "weight_decay": 0.1}


def steps(name, count=3):
    """A parameter of 8,192 numbers after some steps: bitsandbytes keeps small ones in 32 bits."""
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(64, 128))
    made = build_optimizer(name, [{"name": "x", "params": [parameter], "lr": 0.01}], **OPTIONS)
    for _ in range(count):
        parameter.square().sum().backward()
        made.step()
        made.zero_grad()
    return parameter.detach(), made.state[parameter]


@pytest.mark.parametrize(("name", "close"), [("adamw_torch_fused", 1e-7), ("adamw_8bit", 3e-4)])
def test_steps_are_adamws(name, close):
    """Three steps of 0.01; in 8 bits, the few parameters near 0 differ more than the mean."""
    expected, _ = steps("adamw_torch")
    assert (steps(name)[0] - expected).abs().mean() < close


def test_one_kernel_on_cuda():
    assert available_optim("x", "adamw_torch", torch.device("cuda")) == "adamw_torch_fused"
    assert available_optim("x", "adamw_torch", CPU) == "adamw_torch"


def test_states_take_a_quarter():
    def size(state):
        tensors = [item for item in state.values() if isinstance(item, torch.Tensor)]
        return sum(item.numel() * item.element_size() for item in tensors if item.numel() > 1)

    plain, small = size(steps("adamw_torch")[1]), size(steps("adamw_8bit")[1])
    assert plain == 8 * 64 * 128
    assert small < 0.4 * plain, "a quarter, and tables that weigh little on larger tensors"


@pytest.mark.parametrize("name", OPTIMS)
def test_transformers_knows_every_name(name):
    from transformers.training_args import OptimizerNames

    assert OptimizerNames(name)


def test_what_is_unpaged_has_a_name():
    assert {*UNPAGED, *UNPAGED.values()} <= set(OPTIMS)


@pytest.mark.parametrize(
    ("name", "used"), [("paged_adamw_8bit", "adamw_8bit"), ("paged_adamw_32bit", "adamw_torch")]
)
def test_pages_need_a_gpu(name, used, capsys):
    assert available_optim("optimizer.optim", name, CPU) == used
    assert capsys.readouterr().out == (
        f"optimizer.optim={name}: pages are for GPUs, this runs on a CPU with {used}\n"
    )
    assert available_optim("optimizer.optim", name, torch.device("cuda")) == name
    assert not capsys.readouterr().out


@pytest.mark.parametrize("overrides", [["stage.sft.optim=adamw"], ["optimizer.optim=adamw"]])
def test_a_wrong_name_is_told(run_tiny, overrides):
    with pytest.raises(UserError, match=r"optim=adamw: did you mean"):
        run_tiny("stages=[sft,rl]", "reward=[length]", *overrides)


def test_every_stage_trains_in_8_bits(run_tiny, tiny_files):
    runner = run_tiny(
        "loader=full", "labeler=imported", f"data.files.rankings={tiny_files['rankings']}",
        "stages=[sft,label,reward_model,rl]", "stage.sft.optim=adamw_8bit",
        "stage.reward_model.optim=paged_adamw_8bit", "optimizer.optim=adamw_8bit",
    )  # fmt: skip
    rows = read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")
    assert all(row["policy/grad_norm"] > 0 for row in rows)


@pytest.mark.parametrize("name", ["paged_adamw_8bit", "paged_adamw_32bit"])
def test_states_that_were_paged_are_again_after_a_resume(name, monkeypatch):
    """bitsandbytes' optimizer; its pages, which only a card has, are stood in for."""

    def buffer(self, parameter, dtype=torch.float32):
        made = torch.zeros_like(parameter, dtype=dtype)
        made.is_paged = parameter.numel() >= 100_000
        return made

    monkeypatch.setattr(Optimizer2State, "get_state_buffer", buffer)
    weights = [torch.nn.Parameter(torch.randn(*shape)) for shape in ((400, 300), (64, 128))]
    groups = [{"params": weights, "lr": 0.01}]
    stopped, resumed = (build_optimizer(name, groups, **OPTIONS) for _ in range(2))
    for place, weight in enumerate(weights):
        stopped.init_state(stopped.param_groups[0], weight, 0, place)
        for state in ("state1", "state2"):
            stopped.state[weight][state].random_(100)
    load_optimizer(resumed, stopped.state_dict())
    for weight in weights:
        expected, found = stopped.state[weight], resumed.state[weight]
        assert found.keys() == expected.keys()
        for state in ("state1", "state2"):
            assert found[state] is not expected[state]
            assert found[state].is_paged == expected[state].is_paged
            assert torch.equal(found[state], expected[state])


def test_what_is_paged_never_lies_whole_on_the_card(monkeypatch):
    told = []
    original = Optimizer2State.load_state_dict

    def load(self, state, move_to_device=True):
        told.append(move_to_device)
        original(self, state, move_to_device)

    monkeypatch.setattr(Optimizer2State, "load_state_dict", load)
    for name in ("paged_adamw_8bit", "adamw_8bit"):
        made = build_optimizer(name, [{"params": [torch.nn.Parameter(torch.ones(3))]}], lr=0.1)
        load_optimizer(made, made.state_dict())
    assert told == [False, True]
